"""The command line: one module of :mod:`dicomnode.commands` a command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from dicomnode import __version__
from dicomnode.commands.common import CommandError
from dicomnode.computing import quiet_threads

COMMANDS = {
    "serve": "run the node: receive, analyze, deliver, until SIGTERM",
    "check": "the doctor: configuration, port, disk, models, GPU, destinations",
    "status": "list the series the node knows and their states",
    "show": "show everything the node knows of one series",
    "retry": "analyze a failed or refused series again, or deliver its results now",
    "purge": "remove images and result objects of finished series",
    "analyze": "measure every CT series in a folder, without a network",
    "send": "send DICOM files to an application entity by C-STORE",
    "models": "list the installed models: card, checksum, figures",
    "train": "train a model by its published protocol",
    "evaluate": "score a model on labelled cases",
    "cohort": "measure an archive: many CT series into one table, resumable",
    "agree": "compare masks or measurements of two readers, or of a reader and a model",
    "prognosis": "what CT adds to a patient's characteristics: models A, B and C on a table with outcomes",
    "demo": "the whole way on this machine: a CT goes to the node, its answer comes back out of a PACS",
}
"""Each is a module of :mod:`dicomnode.commands`; only the one asked for is imported, some need seconds."""

DESCRIPTION = """\
A DICOM node that answers a chest CT with segmentation masks (SEG) and a measured structured report (SR).
For research use.

First steps: `dicomnode demo` shows the whole way on this machine, `dicomnode analyze DIR --out OUT` measures
a folder, `dicomnode check --config FILE` and `dicomnode serve --config FILE` run the node."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0 done, 1 findings or failures told in words, 2 wrong usage."""
    os.environ.update(quiet_threads())  # before a library that reads it is imported
    words = sys.argv[1:] if arguments is None else list(arguments)
    parsed = parser_for(words).parse_args(words)
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        print("dicomnode: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, `head` perhaps, has seen enough
        sys.stderr.close()
        return 1
    except Exception as error:
        if parsed.debug:
            raise
        expected = isinstance(error, CommandError)
        print(f"dicomnode: {error if expected else f'{type(error).__name__}: {error}'}", file=sys.stderr)
        return 1


def parser_for(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with every command, and the arguments of the one that ``words`` names."""
    parser = argparse.ArgumentParser(
        prog="dicomnode", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"dicomnode {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == chosen:
            command = import_module(f"dicomnode.commands.{name}")
            subparser.description = command.__doc__
            subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
