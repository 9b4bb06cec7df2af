"""the whole way on this machine: a CT goes to the node, its answer comes back out of a PACS

Starts a PACS (Orthanc where it is installed, else a small one of dicomnode's own) and the node, sends a chest
CT by C-STORE, waits for SEG and SR in the PACS, reads them back, prints the measurements and draws a picture.

  dicomnode demo                         a phantom chest, whose true volumes stand beside the measured ones
  dicomnode demo --ct FOLDER             a chest CT of yours
  dicomnode demo --viewer                and then CT and answer in the OHIF viewer, until Ctrl-C
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dicomnode.commands.common import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "--ct", type=Path, metavar="DIR", help="folder with one chest CT series (default: a phantom)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="for all files (default: out)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs"
    )
    parser.add_argument(
        "--pacs", choices=("auto", "orthanc", "small"), default="auto", help="which PACS to start"
    )
    parser.add_argument(
        "--viewer",
        action="store_true",
        help="show CT and answer in the OHIF viewer in front of Orthanc (fetched from npm the first time)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration; 1 when the answer did not come or the series was refused."""
    if arguments.ct and not arguments.ct.is_dir():
        raise CommandError(f"there is no folder {arguments.ct}")
    from dicomnode.demo.run import Demonstration, DemonstrationError  # noqa: PLC0415  (imports torch)

    directory = arguments.out / "demo"
    try:
        return Demonstration(
            arguments.ct, directory, arguments.device, arguments.pacs, viewer=arguments.viewer
        ).run()
    except DemonstrationError as error:
        raise CommandError(str(error)) from error
