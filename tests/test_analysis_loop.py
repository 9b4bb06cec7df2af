"""From complete to delivering, refused or failed: what the loop writes into the ledger."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.analysis_loop import AnalysisLoop
from dicomnode.deliver.destination import Destination
from dicomnode.deliver.peer import Peer
from dicomnode.spool.records import NewInstance, SeriesDetails
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from dicomnode.supervisor import Supervisor

CT, SR_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.33"
PACS = Destination("pacs", Peer("PACS", "127.0.0.1", 104))

# A worker that keeps the protocol and writes two small files instead of computing.
WORKER = """
import json, pathlib, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["command"] == "load":
        print(json.dumps({"event": "ready"}), flush=True)
        continue
    out = pathlib.Path(request["out"])
    out.mkdir(parents=True)
    results = []
    for number, kind in enumerate(KINDS, 1):
        (out / f"{kind}.dcm").write_bytes(kind.encode())
        result = {"kind": kind, "path": str(out / f"{kind}.dcm"), "sop_instance_uid": f"2.25.{number}"}
        results.append({**result, "sop_class_uid": "1.2.3", "series_instance_uid": "2.25.9"})
    print(json.dumps({"event": "done", "results": results, "refusal": REFUSAL, "detail": DETAIL}), flush=True)
"""


def worker(kinds: str = "('seg', 'sr')", refusal: str = "None", detail: str = "None") -> str:
    return WORKER.replace("KINDS", kinds).replace("REFUSAL", refusal).replace("DETAIL", detail)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def complete_series(spool: Spool, sop_class_uid: str = CT) -> str:
    """One received series of one instance that is ready to be analyzed."""
    data = b"pixels"
    instance = NewInstance(
        "1.2.3",
        "1.2.3.4",
        "1.2.3.4.5",
        sop_class_uid,
        "1.2.840.10008.1.2.1",
        hashlib.sha256(data).hexdigest(),
        "A",
    )
    spool.keep(instance, (data,))
    spool.ledger.mark_complete(instance.series_id, "test")
    return instance.series_id


def run(
    spool: Spool, program: str, *, include: tuple[str, ...] = ("seg", "sr"), until: SeriesState
) -> SeriesDetails:
    """Let the loop work until the only series is in ``until``."""
    supervisor = Supervisor("model", "cpu", 30.0, (sys.executable, "-c", program))
    loop = AnalysisLoop(
        spool, supervisor, [PACS], include=include, config_sha256="0" * 64, maximum_attempts=2
    )
    loop.start()
    deadline = time.monotonic() + 60
    (series,) = spool.ledger.list_series()
    while series.state is not until and time.monotonic() < deadline:
        spool.ledger.database.wait(spool.ledger.database.version, 0.2)
        (series,) = spool.ledger.list_series()
    loop.stop(drain=True)
    return spool.ledger.show(series.id)


def test_results_are_published_and_queued_for_each_destination(spool: Spool) -> None:
    complete_series(spool)
    details = run(spool, worker(), until=SeriesState.DELIVERING)
    assert details.series.state is SeriesState.DELIVERING
    assert [(d.destination, d.kind) for d in details.deliveries] == [("pacs", "seg"), ("pacs", "sr")]
    assert [(spool.directory / result.path).read_bytes() for result in details.results] == [b"seg", b"sr"]
    assert not list(spool.results_directory(details.series.id, 1).glob("attempt-*"))


def test_kinds_that_are_not_included_are_not_delivered(spool: Spool) -> None:
    complete_series(spool)
    details = run(spool, worker(), include=("seg",), until=SeriesState.DELIVERING)
    assert [d.kind for d in details.deliveries] == ["seg"]


def test_a_refusal_is_delivered_whatever_is_included(spool: Spool) -> None:
    complete_series(spool)
    program = worker("('sr',)", "'gap'", "'1 slice missing'")
    details = run(spool, program, include=("seg",), until=SeriesState.REFUSED)
    assert (details.series.reason, details.series.detail) == ("gap", "1 slice missing")
    assert [d.kind for d in details.deliveries] == ["sr"]


def test_an_analysis_that_fails_each_time_ends_in_failed_with_its_reason(spool: Spool) -> None:
    complete_series(spool)
    details = run(spool, "import sys; sys.exit('no weights')", until=SeriesState.FAILED)
    assert details.series.state is SeriesState.FAILED
    assert details.series.attempts == 2
    assert "no weights" in details.series.detail
    assert spool.ledger.retry(details.series.id).state is SeriesState.COMPLETE


def test_reports_are_kept_and_get_no_report(spool: Spool) -> None:
    complete_series(spool, SR_CLASS)
    details = run(spool, worker(), until=SeriesState.REFUSED)
    assert details.series.reason == "not_ct"
    assert not details.deliveries
