"""Results to destinations that are there, come late, refuse, or are Orthanc."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomnode.deliver.delivery import DeliveryLoop
from dicomnode.deliver.destination import Destination, RetryPolicy
from dicomnode.deliver.peer import Peer, echo
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import NewInstance, series_key
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from tests.deliver.test_sender import save
from tests.dicom_network import DECODABLE, Node, free_port, storescp, until

SERIES = series_key("1.2", "1.2.3")
QUICK = RetryPolicy(first_seconds=0.1, factor=2, cap_seconds=0.4)


@dataclass(frozen=True)
class Result:
    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    path: Path
    series_instance_uid: str = "2.25.9"


@contextmanager
def receiving_node(tmp_path: Path, minimum_free_bytes: int = 0) -> Iterator[Node]:
    """Our own storage SCP as destination."""
    spool = Spool(tmp_path / "destination", minimum_free_bytes)
    settings = ServerSettings("DICOMNODE", "127.0.0.1", 0, completeness=CompletenessSettings(0.2, 5))
    server = StorageServer(settings, spool, DECODABLE)
    server.start()
    try:
        yield Node(server, spool)
    finally:
        server.stop(drain_seconds=0)
        spool.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    new = NewInstance("1.2", "1.2.3", "1.4", "1.5", "1.2.840", "a" * 64, "SCANNER")
    opened.record_instance(new, Path("x"), 1)
    opened.mark_complete(SERIES, "quiet")
    opened.claim_next()
    yield opened
    opened.close()


def results(directory: Path) -> list[Result]:
    made = []
    for number, kind in ((1, "seg"), (2, "sr")):
        path = save(directory, number)
        dataset = dcmread(path)
        made.append(Result(kind, str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), path))
    return made


@contextmanager
def delivering(ledger: Ledger, *destinations: Destination) -> Iterator[DeliveryLoop]:
    loop = DeliveryLoop(ledger, destinations)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def destination(name: str, port: int, accepts: tuple[str, ...] = ("seg", "sr")) -> Destination:
    return Destination(name, Peer("DICOMNODE", "127.0.0.1", port, answer_seconds=5), accepts, QUICK)


def delivered(ledger: Ledger) -> bool:
    return ledger.show(SERIES).series.state is SeriesState.DELIVERED


def test_results_reach_their_destinations(ledger: Ledger, tmp_path: Path) -> None:
    with storescp(tmp_path) as (port, received):
        targets = [destination("pacs", port), destination("ris", port, ("sr",))]
        with delivering(ledger, *targets):
            ledger.record_results(SERIES, 1, results(tmp_path), targets)
            until(lambda: delivered(ledger))
        assert len(list(received.iterdir())) == 2
    details = ledger.show(SERIES)
    assert [(one.destination, one.kind, one.attempts) for one in details.deliveries] == [
        ("pacs", "seg", 1),
        ("pacs", "sr", 1),
        ("ris", "sr", 1),
    ]


def test_a_destination_that_comes_late_gets_everything_once(ledger: Ledger, tmp_path: Path) -> None:
    port = free_port()
    target = destination("pacs", port)
    with delivering(ledger, target):
        ledger.record_results(SERIES, 1, results(tmp_path), [target])
        until(lambda: ledger.outbox.destination("pacs").failures >= 2)
        (backlog,) = ledger.outbox.backlog()
        assert backlog.pending == 2
        assert "no connection" in backlog.last_error
        with storescp(tmp_path, port=port) as (_, received):
            until(lambda: delivered(ledger))
            assert len(list(received.iterdir())) == 2
    assert ledger.outbox.backlog() == ()


def test_a_destination_that_is_down_does_not_hold_up_another(ledger: Ledger, tmp_path: Path) -> None:
    with storescp(tmp_path) as (port, received):
        targets = [destination("down", free_port()), destination("up", port)]
        with delivering(ledger, *targets):
            ledger.record_results(SERIES, 1, results(tmp_path), targets)
            until(lambda: [one.destination for one in ledger.outbox.backlog()] == ["down"])
        assert len(list(received.iterdir())) == 2
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERING


def test_a_refusal_is_tried_again_until_it_is_taken(ledger: Ledger, tmp_path: Path) -> None:
    with receiving_node(tmp_path, minimum_free_bytes=1 << 60) as node:
        target = destination("pacs", node.port)
        with delivering(ledger, target):
            ledger.record_results(SERIES, 1, results(tmp_path), [target])
            until(lambda: any("A700" in one.last_error for one in ledger.outbox.backlog()))
            node.spool.minimum_free_bytes = 0
            until(lambda: delivered(ledger))
        assert len(node.instances()) == 2


def test_what_waits_since_the_last_run_is_delivered_at_start(ledger: Ledger, tmp_path: Path) -> None:
    with storescp(tmp_path) as (port, received):
        target = destination("pacs", port)
        ledger.record_results(SERIES, 1, results(tmp_path), [target])
        with delivering(ledger, target):
            until(lambda: delivered(ledger))
        assert len(list(received.iterdir())) == 2


def test_a_result_whose_file_is_gone_does_not_stop_the_others(ledger: Ledger, tmp_path: Path) -> None:
    with storescp(tmp_path) as (port, _):
        target = destination("pacs", port)
        made = results(tmp_path)
        made[0].path.unlink()
        with delivering(ledger, target):
            ledger.record_results(SERIES, 1, made, [target])
            until(lambda: [one.pending for one in ledger.outbox.backlog()] == [1])
            until(lambda: "No such file" in ledger.outbox.backlog()[0].last_error)


def test_stopping_a_loop_that_waits_is_quick(ledger: Ledger) -> None:
    loop = DeliveryLoop(ledger, [destination("pacs", 1)])
    loop.start()
    loop.stop(drain_seconds=5)
    assert not any(courier.is_alive for courier in loop._couriers.values())


def test_a_destination_that_was_taken_out_is_told(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.record_results(SERIES, 1, results(tmp_path), [destination("old", 1)])
    with delivering(ledger):
        pass
    assert "not configured" in caplog.text


def test_waiting_grows_to_the_cap_and_never_beyond() -> None:
    policy = RetryPolicy(5, 2, 900)
    longest = [policy.delay_seconds(attempts, lambda: 0.0) for attempts in range(1, 12)]
    assert longest[:4] == [5, 10, 20, 40]
    assert longest[-1] == 900
    assert policy.delay_seconds(100_000, lambda: 0.0) == 900
    assert policy.delay_seconds(1, lambda: 1.0) == 3.75


@pytest.mark.parametrize("wrong", [(0, 2, 10), (5, 0.5, 10), (5, 2, 4)])
def test_a_senseless_retry_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="retry needs"):
        RetryPolicy(*wrong)


@contextmanager
def orthanc(directory: Path) -> Iterator[tuple[int, int]]:
    """An Orthanc of its own; yields its DICOM and HTTP ports."""
    executable = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if executable is None:
        pytest.skip("Orthanc is not installed (package orthanc)")
    dicom_port, http_port = free_port(), free_port()
    configuration = directory / "orthanc.json"
    storage = directory / "orthanc"
    storage.mkdir()
    configuration.write_text(
        json.dumps(
            {
                "StorageDirectory": str(storage),
                "IndexDirectory": str(storage),
                "DicomPort": dicom_port,
                "HttpPort": http_port,
                "DicomAet": "ORTHANC",
                "AuthenticationEnabled": False,
                "RemoteAccessAllowed": False,
                "Plugins": [],
            }
        )
    )
    running = subprocess.Popen(
        [executable, configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        peer = Peer("ORTHANC", "127.0.0.1", dicom_port, connect_seconds=1, answer_seconds=2)
        until(lambda: echo(peer) is None, seconds=60)
        yield dicom_port, http_port
    finally:
        running.terminate()
        running.wait()


def test_orthanc_as_destination(ledger: Ledger, tmp_path: Path) -> None:
    with orthanc(tmp_path) as (dicom_port, http_port):
        target = Destination("orthanc", Peer("ORTHANC", "127.0.0.1", dicom_port), retry=QUICK)
        made = results(tmp_path)
        with delivering(ledger, target):
            ledger.record_results(SERIES, 1, made, [target])
            until(lambda: delivered(ledger))
        with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/instances?expand") as answer:
            found = {one["MainDicomTags"]["SOPInstanceUID"] for one in json.load(answer)}
    assert found == {result.sop_instance_uid for result in made}
