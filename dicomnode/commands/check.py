"""the doctor: configuration, port, disk, models, GPU, destinations

One sentence a finding; exit status 1 when there is one that keeps the node from doing its work. Notes, such
as "anyone may send", don't change the exit status.

  dicomnode check --config /etc/dicomnode/dicomnode.toml
"""

from __future__ import annotations

import argparse

from dicomnode.checkup import check_node
from dicomnode.commands.common import add_config_argument, read_config
from dicomnode.terminal import console, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Examine everything; 1 when something is wrong."""
    findings = check_node(read_config(arguments))
    if arguments.json:
        print_json([{"subject": f.subject, "severity": f.severity, "sentence": f.sentence} for f in findings])
    else:
        for finding in findings:
            console().print(f"{MARKS[finding.severity]} {finding.subject}: {finding.sentence}", markup=False)
    return 1 if any(finding.severity == "wrong" for finding in findings) else 0


MARKS = {"ok": "  ok   ", "note": "  note ", "wrong": "  WRONG"}
