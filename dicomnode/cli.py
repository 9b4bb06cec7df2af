"""The command line: one module of :mod:`dicomnode.commands` a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from dicomnode import __version__
from dicomnode.commands.common import CommandError

COMMANDS = (
    "serve",
    "check",
    "analyze",
    "send",
    "status",
    "show",
    "retry",
    "models",
    "demo",
    "train",
    "evaluate",
)

DESCRIPTION = """\
A DICOM node that answers a chest CT with segmentation masks (SEG) and a measured structured report (SR).
For research use.

First steps: `dicomnode demo` shows the whole way on this machine, `dicomnode analyze DIR --out OUT` measures
a folder, `dicomnode check --config FILE` and `dicomnode serve --config FILE` run the node."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0 done, 1 findings or failures told in words, 2 wrong usage."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dicomnode", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"dicomnode {__version__}")
    parser.set_defaults(debug=False)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = import_module(f"dicomnode.commands.{name}")
        summary = str(command.__doc__).strip().splitlines()[0]
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
