"""From the last C-STORE response to the last result in the PACS: the node, dicom-ai-router, a plain script.

    python -m benchmarks.end_to_end [--quick] [--ct DIR] [--slices 120 300 600] [--repetitions 3] [--pace N]

Starts an Orthanc as the PACS and the three systems as processes of this machine, sends each series by dcmtk's
storescu, or at a scanner's pace of N slices a second, to one after the other, alternating, and prints the
medians as the tables of docs/performance.md. All
run the same networks; node and script return SEG and SR, the router a text SR and a key image (it knows no
masks). Each waits three seconds after the last slice before it takes a series for complete; these are shown
and left out of the ratio. dicom-ai-router is installed from PyPI into a virtual environment of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.end_to_end_cases import Case, Sent, copies, patient, phantom
from benchmarks.end_to_end_systems import Node, Router, Script, SystemFailedError, UnderTest, instances_in
from benchmarks.paced import by_height, send_at_pace
from benchmarks.processes import dcmtk, forget_peaks, processor, taken
from dicomnode.demo.orthanc import OrthancPacs

QUIET_SECONDS = 3.0
LATE_SECONDS = 1.5
PATIENCE_SECONDS = 900.0
POLL_SECONDS = 0.02
Send = Callable[[UnderTest, Sent], None]


@dataclass(frozen=True)
class Answer:
    """What one series took with one system."""

    send_seconds: float
    answer_seconds: float
    stages: Mapping[str, float]
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int

    @property
    def worked_seconds(self) -> float:
        """Without the wait for further slices."""
        return self.answer_seconds - self.stages.get("wait", 0.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a phantom of 60 slices of 256 x 256, once")
    parser.add_argument("--ct", type=Path, help="folder with a real CT series")
    parser.add_argument("--slices", type=int, nargs="*", default=[120, 300, 600], help="of the phantoms")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--pace", type=float, help="slices a second; default: as fast as storescu sends")
    parser.add_argument("--keep", type=Path, help="keep phantoms and the router's environment here")
    parser.add_argument("--without", nargs="*", default=[], choices=["router", "script"])
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever was started is stopped
    send = _sender(arguments.pace)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        keep = arguments.keep or work
        cases = _cases(arguments, keep)
        pacs = OrthancPacs(work / "pacs")
        pacs.start()
        stack.callback(pacs.stop)
        systems = _start(arguments.without, work, keep, pacs, stack)
        load = os.getloadavg()[0]
        measured = {
            case.name: _measure(
                case, systems, pacs, send, 1 if arguments.quick else arguments.repetitions, work
            )
            for case in cases
        }
    _print(measured, load)


def _sender(pace: float | None) -> Send:
    """Sends a series to a system; back when the last response has come."""
    storescu = dcmtk("storescu")

    def at_once(system: UnderTest, sent: Sent) -> None:
        command = [
            storescu,
            "-aec",
            system.ae_title,
            "+sd",
            "-R",
            "127.0.0.1",
            str(system.port),
            str(sent.folder),
        ]
        subprocess.run(command, check=True, env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True)

    def paced(system: UnderTest, sent: Sent) -> None:
        send_at_pace(by_height(list(sent.folder.glob("*.dcm"))), system.port, system.ae_title, pace or 0.0)

    return paced if pace else at_once


def _cases(arguments: argparse.Namespace, keep: Path) -> list[Case]:
    if arguments.quick:
        return [phantom(60, keep, 256)]
    real = [patient(arguments.ct, keep)] if arguments.ct else []
    return [*real, *(phantom(slices, keep) for slices in arguments.slices)]


def _start(
    without: Sequence[str], work: Path, keep: Path, pacs: OrthancPacs, stack: ExitStack
) -> list[UnderTest]:
    """The systems that start; one that doesn't is left out, and says why."""
    wanted: list[UnderTest] = [Node(work / "node", pacs.port, QUIET_SECONDS)]
    if "router" not in without:
        wanted.append(Router(work / "router", pacs.port, QUIET_SECONDS, keep / "dicom-ai-router"))
    if "script" not in without:
        wanted.append(Script(work / "script", pacs.port, QUIET_SECONDS))
    started = []
    for system in wanted:
        stack.callback(system.stop)
        try:
            system.start()
        except SystemFailedError as error:
            print(f"left out: {error}", file=sys.stderr)
        else:
            started.append(system)
    return started


def _measure(
    case: Case,
    systems: Sequence[UnderTest],
    pacs: OrthancPacs,
    send: Send,
    repetitions: int,
    work: Path,
) -> dict[str, list[Answer]]:
    """Answers by system; the first round warms up and doesn't count."""
    found: dict[str, list[Answer]] = defaultdict(list)
    folder = work / "copies"
    source = copies(case, folder)
    for number in range(repetitions + 1):
        sent = next(source)
        for system in systems:
            answer = _ask(system, sent, pacs, send)
            print(
                f"{case.name}, {system.name}: {answer.answer_seconds:.2f} s {answer.stages}", file=sys.stderr
            )
            if abs(answer.stages.get("wait", 0.0) - QUIET_SECONDS) > LATE_SECONDS:
                print("not counted: it began before all slices were there", file=sys.stderr)
            elif number:
                found[system.name].append(answer)
        shutil.rmtree(sent.folder)
    shutil.rmtree(folder)
    return found


def _ask(system: UnderTest, sent: Sent, pacs: OrthancPacs, send: Send) -> Answer:
    expected = instances_in(pacs.http_port) + system.results
    pids = system.pids
    forget_peaks(pids)
    before, began = taken(pids), time.time()
    send(system, sent)
    last_response = time.time()
    while instances_in(pacs.http_port) < expected:
        if time.time() - last_response > PATIENCE_SECONDS:
            sys.exit(f"{system.name} did not answer within {PATIENCE_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    answered = time.time()
    time.sleep(1.0)  # for what it still writes down; not part of the answer
    after = taken(system.pids)
    return Answer(
        last_response - began,
        answered - last_response,
        system.stages(sent.study, sent.series, last_response),
        after.cpu_seconds - before.cpu_seconds,
        after.peak_bytes,
        after.written_bytes - before.written_bytes,
    )


def _print(measured: Mapping[str, Mapping[str, Sequence[Answer]]], load: float) -> None:
    print(f"{processor()}, {os.cpu_count()} cores, load {load:.1f} at the start; medians of a series.\n")
    print(
        "| series | system | sending s | answer s | without wait s | ratio | CPU s | peak MB | written MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for case, answers in measured.items():
        node = _median(answers[Node.name], "worked_seconds")
        for system, found in answers.items():
            worked = _median(found, "worked_seconds")
            figures = (
                f"{_median(found, 'send_seconds'):.2f}",
                f"{_median(found, 'answer_seconds'):.2f}",
                f"{worked:.2f}",
                f"{worked / node:.1f}",
                f"{_median(found, 'cpu_seconds'):.1f}",
                f"{_median(found, 'peak_bytes') / 1e6:.0f}",
                f"{_median(found, 'written_bytes') / 1e6:.0f}",
            )
            print(f"| {case} | {system} | {' | '.join(figures)} |")
    print("\n| series | system | seconds of each stage after the last response |\n|---|---|---|")
    for case, answers in measured.items():
        for system, found in answers.items():
            names = dict.fromkeys(name for answer in found for name in answer.stages)
            stages = {
                name: statistics.median(answer.stages.get(name, 0.0) for answer in found) for name in names
            }
            print(f"| {case} | {system} | {', '.join(f'{k} {v:.2f}' for k, v in stages.items())} |")


def _median(answers: Sequence[Answer], name: str) -> float:
    return float(statistics.median(getattr(answer, name) for answer in answers))


if __name__ == "__main__":
    main()
