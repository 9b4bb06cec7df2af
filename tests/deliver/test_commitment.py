"""Storage commitment asked of a small PACS, which answers on the same association, and of Orthanc."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import evt
from pynetdicom.association import Association

from dicomnode.deliver import commitment
from dicomnode.deliver.delivery import DeliveryLoop
from dicomnode.deliver.destination import Destination
from dicomnode.deliver.peer import Peer
from dicomnode.demo.orthanc import OrthancPacs, find_orthanc
from dicomnode.demo.pacs import SmallPacs
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.commitments import FIRST_REPEAT_SECONDS
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import series_key
from dicomnode.spool.spool import Spool
from dicomnode.storage_commitment import SOP_CLASS, Report, build_report, handle_event_report
from tests.deliver.recording_pacs import Clock, RecordingPacs, make_results, pacs, state_of
from tests.dicom_network import DECODABLE, until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    yield opened
    opened.close()


def archive(port: int) -> Destination:
    return Destination("archive", Peer("PACS", "127.0.0.1", port, answer_seconds=5), commitment=True)


@contextmanager
def delivering(ledger: Ledger, clock: Callable[[], float], *destinations: Destination) -> Iterator[None]:
    loop = DeliveryLoop(ledger, destinations, clock=clock)
    loop.start()
    try:
        yield
    finally:
        loop.stop()


def test_the_answer_on_the_same_association(ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    small = SmallPacs(tmp_path / "pacs")
    small.start()
    try:
        with delivering(ledger, clock, archive(small.port)):
            for number in (1, 2):
                make_results(ledger, [archive(small.port)], number)
                until(lambda number=number: state_of(ledger, number) == "committed")  # type: ignore[misc]
    finally:
        small.stop()


def test_the_association_was_released_before_the_report_was_answered(
    ledger: Ledger, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[int | None] = []
    send = Association.send_n_event_report

    def remembering(*args: Any, **kwargs: Any) -> Any:
        answer = send(*args, **kwargs)
        answers.append(answer[0].get("Status"))
        return answer

    monkeypatch.setattr(Association, "send_n_event_report", remembering)
    small = SmallPacs(tmp_path / "pacs")
    small.start()
    try:
        with delivering(ledger, clock, archive(small.port)):
            for number in range(1, 11):
                make_results(ledger, [archive(small.port)], number)
                until(lambda number=number: state_of(ledger, number) == "committed")  # type: ignore[misc]
            until(lambda: len(answers) == 10)
    finally:
        small.stop()
    assert answers == [0x0000] * 10


class ForgetfulPacs(RecordingPacs):
    """Takes everything, and reports what it is told to report."""

    def __init__(self) -> None:
        super().__init__()
        self._ae.add_supported_context(SOP_CLASS)
        self.requests: list[list[str]] = []
        self.keeps = True
        self.reports = True

    def start(self) -> None:
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._commit)]
        self._server = self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        asked = event.action_information
        uids = [str(item.ReferencedSOPInstanceUID) for item in asked.ReferencedSOPSequence]
        self.requests.append(uids)
        self.transaction = str(asked.TransactionUID)
        return 0x0000, None

    def report(self, ledger: Ledger) -> int:
        """As if it came to the node's own port."""
        references = tuple(("1.2.840.10008.5.1.4.1.1.2", uid) for uid in self.requests[-1])
        failed = () if self.keeps else tuple((one, 0x0112) for one in references)
        report = Report(self.transaction, references if self.keeps else (), failed)
        return handle_event_report(ledger, build_report(report), report.event_type)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForgetfulPacs]:
    monkeypatch.setattr(commitment, "WAIT_FOR_REPORT_SECONDS", 0.05)
    running = ForgetfulPacs()
    running.start()
    yield running
    running.stop()


def test_without_an_answer_it_is_asked_again_less_and_less_often(
    ledger: Ledger, clock: Clock, forgetful: ForgetfulPacs
) -> None:
    target = archive(forgetful.port)
    uids = make_results(ledger, [target], 1)
    begin, moments = clock.now, []
    with delivering(ledger, clock, target):
        for requests in range(1, 8):
            until(lambda requests=requests: len(forgetful.requests) == requests)  # type: ignore[misc]
            moments.append(clock.now - begin)
            question_at = ledger.asked_of_destinations.next_question_at("archive")
            assert question_at is not None
            clock.now = question_at
            ledger.database.announce()
        until(lambda: len(forgetful.requests) == 8)
        assert forgetful.report(ledger) == 0
    assert moments == [0, 300, 600, 1200, 2400, 4800, 9600]
    assert forgetful.requests == [uids] * 8
    assert forgetful.received == uids, "asked again, not sent again"
    assert state_of(ledger, 1) == "committed"


def test_after_a_restart_it_is_asked_again_at_once(
    ledger: Ledger, clock: Clock, forgetful: ForgetfulPacs
) -> None:
    target = archive(forgetful.port)
    (uid,) = make_results(ledger, [target], 1, ("sr",))
    for requests in (1, 2):
        with delivering(ledger, clock, target):
            until(lambda requests=requests: len(forgetful.requests) == requests)  # type: ignore[misc]
    assert forgetful.requests == [[uid]] * 2
    assert forgetful.received == [uid]


def test_what_it_lost_is_sent_again_but_not_in_a_tight_loop(
    ledger: Ledger, clock: Clock, forgetful: ForgetfulPacs
) -> None:
    target = archive(forgetful.port)
    (uid,) = make_results(ledger, [target], 1, ("sr",))
    forgetful.keeps = False
    with delivering(ledger, clock, target):
        for requests, wait in ((1, 0), (2, FIRST_REPEAT_SECONDS), (3, 2 * FIRST_REPEAT_SECONDS)):
            until(lambda requests=requests: len(forgetful.requests) == requests)  # type: ignore[misc]
            assert forgetful.received == [uid] * requests
            before = clock.now
            assert forgetful.report(ledger) == 0
            until(lambda: ledger.outbox.backlog() or len(forgetful.received) > requests)  # noqa: B023
            if wait:
                assert ledger.outbox.next_attempt_at("archive") == before + wait
            clock.now += wait
            ledger.database.announce()
        until(lambda: len(forgetful.requests) == 4)
        forgetful.keeps = True
        assert forgetful.report(ledger) == 0
    assert state_of(ledger, 1) == "committed"


def test_no_more_objects_in_a_request_than_it_can_bear(
    ledger: Ledger, clock: Clock, forgetful: ForgetfulPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "OBJECTS_A_REQUEST", 3)
    target = archive(forgetful.port)
    expected = {uid for number in range(4) for uid in make_results(ledger, [target], number)}
    with delivering(ledger, clock, target):
        until(lambda: sum(map(len, forgetful.requests)) == 8)
    assert [len(request) for request in forgetful.requests] == [3, 3, 2]
    assert {uid for request in forgetful.requests for uid in request} == expected


def test_a_destination_that_does_not_offer_it_is_told_once(
    ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    with pacs() as plain, delivering(ledger, clock, archive(plain.port)):
        make_results(ledger, [archive(plain.port)], 1)
        for _ in range(3):
            until(lambda: (ledger.asked_of_destinations.next_question_at("archive") or 0) > clock.now)
            until(lambda: "no storage commitment" in ledger.show(series_key("1.2", "1.2.11")).events[-1].text)
            clock.now = ledger.asked_of_destinations.next_question_at("archive") or 0
            ledger.database.announce()
        make_results(ledger, [archive(plain.port)], 2)
        until(lambda: state_of(ledger, 2) == "delivered")
    assert caplog.text.count("doesn't offer storage commitment") == 1
    events = ledger.show(series_key("1.2", "1.2.11")).events
    assert len([event for event in events if "no storage commitment" in event.text]) == 1
    with delivering(ledger, clock, Destination("archive", Peer("PACS", "127.0.0.1", 1))):
        assert ledger.asked_of_destinations.next_question_at("archive") is None, "no promise is wanted now"


def test_orthanc_promises_on_a_new_association_with_the_nodes_own_port(tmp_path: Path) -> None:
    if find_orthanc() is None:
        pytest.skip("Orthanc is not installed (package orthanc)")
    spool = Spool(tmp_path / "spool", 0)
    settings = ServerSettings("DICOMNODE", "127.0.0.1", 0, calling_ae_titles=("PACS",))
    server = StorageServer(settings, spool, DECODABLE)
    server.start()
    node = {"node": ["DICOMNODE", "127.0.0.1", server.port]}
    orthanc = OrthancPacs(tmp_path / "orthanc", further={"DicomModalities": node})
    orthanc.start()
    try:
        target = archive(orthanc.port)
        with delivering(spool.ledger, time.time, target):
            make_results(spool.ledger, [target], 1)
            until(lambda: state_of(spool.ledger, 1) == "committed")
    finally:
        orthanc.stop()
        server.stop(drain_seconds=0)
        spool.close()
