"""Scanners: dcmtk's storescu, and what the node has acknowledged to them."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.dicom_network import installed

_SENDING = re.compile(r"Sending file: (.+)")
_SUCCESS = re.compile(r"Received Store Response \((?:Status: 0x0000 - )?Success\)")
_ANY_ANSWER = re.compile(r"Received Store Response")
_SECONDS = 120.0


def associations(files_of_series: Sequence[Sequence[Path]], rng: random.Random) -> list[list[Path]]:
    """How the series travel: one association each, all in one, or scattered over several."""
    way = rng.choice(("one each", "all in one", "interleaved"))
    if way == "one each":
        return [list(files) for files in files_of_series]
    everything = [path for files in files_of_series for path in files]
    if way == "all in one":
        return [everything]
    rng.shuffle(everything)
    count = min(rng.randint(2, 4), len(everything))
    return [everything[start::count] for start in range(count)]


def send(port: int, batches: Sequence[Sequence[Path]]) -> tuple[int, set[Path]]:
    """Send each batch in an association of its own, all at once, until done or the node is gone.

    Returns
    -------
    requests, acknowledged
        How many C-STORE requests went out, and the files that were answered with Success.
    """
    with ThreadPoolExecutor(len(batches)) as pool:
        answers = list(pool.map(lambda batch: _storescu(port, batch), batches))
    return sum(count for count, _ in answers), set().union(*(paths for _, paths in answers))


def _storescu(port: int, files: Sequence[Path]) -> tuple[int, set[Path]]:
    command = [installed("storescu"), "-v", "-aet", "SCANNER", "-aec", "DICOMNODE", "127.0.0.1", str(port)]
    done = subprocess.run(
        [*command, *map(str, files)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        check=False,
    )
    requests, acknowledged, current = 0, set(), None
    for line in done.stdout.splitlines():
        if sending := _SENDING.search(line):
            current = Path(sending[1])
            requests += 1
        elif _SUCCESS.search(line) and current is not None:
            acknowledged.add(current)
        elif _ANY_ANSWER.search(line):
            raise AssertionError(f"the node refused an instance: {line}")
    return requests, acknowledged
