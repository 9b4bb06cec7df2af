"""Kill the node many times and print what came of it.

python -m tests.kills.soak --kills 500 --seed 7
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from dicomnode.terminal import progress_bars
from tests.dicom_network import installed
from tests.kills.campaign import Campaign
from tests.kills.verdict import judge

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    """0 if nothing is lost and nothing there twice; then the working files are removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, help="how often (%(default)s)")
    parser.add_argument("--seed", type=int, help="of the random choices; a new one each time by default")
    parser.add_argument(
        "--compared", type=int, default=20, help="measured series analyzed again (%(default)s)"
    )
    parser.add_argument(
        "--directory", type=Path, help="for spool, log and copies; a temporary one by default"
    )
    parser.add_argument("--commitment", action="store_true", help="the node asks for storage commitment")
    arguments = parser.parse_args()
    try:
        installed("storescu")
    except pytest.skip.Exception as missing:
        parser.error(str(missing))
    data = Path(os.environ.get("DICOMNODE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not data.is_dir():
        print(f"no real CT data at {data}, a phantom is sent", file=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the node ends with its harness
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="dicomnode-soak-"))
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}, files in {directory}", file=sys.stderr)

    campaign = Campaign(directory, data if data.is_dir() else None, seed, commitment=arguments.commitment)
    with progress_bars() as bars:
        task = bars.add_task("starting", total=arguments.kills)
        campaign.run(
            arguments.kills, lambda done, point: bars.update(task, completed=done, description=point)
        )
    verdict = judge(campaign, directory / "undisturbed", compared=arguments.compared)
    for finding in (*verdict.lost, *verdict.duplicated):
        print(finding)
    print(verdict.summary)
    if verdict.lost or verdict.duplicated:
        print(f"everything is kept in {directory}", file=sys.stderr)
        return 1
    if arguments.directory is None:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
