"""send DICOM files to an application entity by C-STORE

Examples:
  dicomnode send ct/ --to DICOMNODE@localhost:11112
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dicomnode.commands.common import CommandError
from dicomnode.deliver.dicom_file import find_files
from dicomnode.deliver.peer import parse_peer
from dicomnode.deliver.sender import send_files
from dicomnode.terminal import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="a DICOM file, or a folder searched to the bottom"
    )
    parser.add_argument("--to", required=True, metavar="AE@HOST:PORT", help="the receiver")
    parser.add_argument(
        "--calling", default="DICOMNODE", metavar="AE", help="our AE title (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Send everything; 1 when an instance was not taken."""
    files = find_files(arguments.directory)
    if not files:
        raise CommandError(f"there is no file to send at {arguments.directory}")
    try:
        peer = parse_peer(arguments.to, calling_ae_title=arguments.calling)
    except ValueError as error:
        raise CommandError(str(error)) from error
    with progress_bars() as bars:
        task = bars.add_task(f"to {arguments.to}", total=len(files))
        outcomes = send_files(files, peer, progress=lambda _: bars.advance(task))
    refused = [outcome for outcome in outcomes if not outcome.ok]
    for outcome in refused:
        print(f"{outcome.path}: {outcome.error}")
    print(f"{len(outcomes) - len(refused)} of {len(outcomes)} files stored at {arguments.to}")
    return 1 if refused else 0
