"""Storage commitment as senders and destinations meet it at the front door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from dicomnode.receive.commitment_reports import ReportTimes
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from dicomnode.storage_commitment import SOP_CLASS, SOP_INSTANCE, Report, build_report
from tests.dicom_network import CT_IMAGE_STORAGE, DECODABLE, Node, NodeFactory, free_port, until
from tests.receive.commitment_peers import (
    Heard,
    ask,
    call_back_to,
    reachable_sender,
    references,
    sender,
    slices,
    store,
)

PATIENT = CompletenessSettings(quiet_seconds=60, deadline_seconds=60, release_seconds=60)
QUICK = ReportTimes(rest=0.2, answer=5, first=0.1, cap=0.2)
SCOUT = (CT_IMAGE_STORAGE, "1.2.826.0.1.3680043.8.498.1.99")


def without_uids() -> Dataset:
    """Says nothing of what a storage commitment message must say."""
    dataset = Dataset()
    dataset.PatientID = "1"
    return dataset


def quickly(node: Node) -> Node:
    """Without long waits between tries."""
    node.server._reporter._times = QUICK
    return node


@pytest.fixture
def patient_node(start_node: NodeFactory) -> Node:
    """Nothing but a storage commitment request completes a series here."""
    return start_node(completeness=PATIENT)


def completeness(node: Node) -> str:
    """The decision, once there is one."""
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    return node.spool.ledger.list_series()[0].completeness


def test_the_request_completes_the_series_and_is_reported_on_the_open_association(patient_node: Node) -> None:
    heard, sent = Heard(), slices(range(12))
    with sender(patient_node, heard) as association:
        store(association, sent)
        assert ask(association, references(sent)) == 0
        assert completeness(patient_node) == "storage commitment: the sender listed 12 instances, all kept"
        event_type, report = heard.next()
        assert association.is_established
    assert (event_type, report.transaction_uid, report.failed) == (1, "1.2.3.9", ())
    assert report.committed == references(sent)
    ledger = patient_node.spool.ledger
    until(lambda: not ledger.asked_by_others.waiting())
    events = [event.text for event in ledger.show(ledger.list_series()[0].id).events]
    assert "storage commitment: the sender listed 12 instances, all kept" in events
    assert "storage commitment reported to SCANNER" in events


def test_what_is_not_kept_is_a_failure_with_its_reason(patient_node: Node) -> None:
    heard, sent = Heard(), slices(range(12))
    other_class = ("1.2.840.10008.5.1.4.1.1.66.4", str(sent[0].SOPInstanceUID))
    with sender(patient_node, heard) as association:
        store(association, sent)
        assert ask(association, [*references(sent), SCOUT, other_class]) == 0
        event_type, report = heard.next()
    assert event_type == 2
    assert report.committed == references(sent)
    assert report.failed == ((SCOUT, 0x0112), (other_class, 0x0119))
    until(lambda: not patient_node.spool.ledger.asked_by_others.waiting())
    (series,) = patient_node.spool.ledger.list_series()
    assert series.state is SeriesState.RECEIVING
    assert any(
        "2 of the 14 instances that it listed are not here" in event.text
        for event in patient_node.spool.ledger.show(series.id).events
    )


def test_the_series_waits_for_what_the_sender_listed_and_has_not_sent(patient_node: Node) -> None:
    sent = slices(range(14))
    with sender(patient_node) as association:
        store(association, sent[:12])
        assert ask(association, references(sent)) == 0
    with sender(patient_node) as association:
        store(association, sent[12:13])
        assert not patient_node.spool.ledger.list_series(SeriesState.COMPLETE)
        store(association, sent[13:])
        assert completeness(patient_node).endswith("the sender listed 14 instances, all kept")


@pytest.mark.parametrize("roles", [True, False], ids=["role selection", "no role selection"])
def test_a_sender_that_hung_up_is_called_back(start_node: NodeFactory, *, roles: bool) -> None:
    heard, sent = Heard(), slices(range(3))
    with reachable_sender(0, heard, roles=roles) as port:
        node = quickly(start_node(call_back=call_back_to(port)))
        with sender(node) as association:
            store(association, sent)
            assert ask(association, references(sent)) == 0
        event_type, report = heard.next()
        until(lambda: not node.spool.ledger.asked_by_others.waiting())
    assert (event_type, report.committed) == (1, references(sent))
    assert heard.roles == [(False, True)]


def test_a_sender_that_refuses_the_report_on_its_association_is_called_back(start_node: NodeFactory) -> None:
    here, elsewhere, sent = Heard(status=0x0211), Heard(), slices(range(3))
    with reachable_sender(0, elsewhere) as port:
        node = quickly(start_node(call_back=call_back_to(port)))
        with sender(node, here) as association:
            store(association, sent)
            ask(association, references(sent))
            assert here.next() == elsewhere.next()
            assert association.is_established
        until(lambda: not node.spool.ledger.asked_by_others.waiting())


def test_a_report_is_brought_again_until_it_is_heard(start_node: NodeFactory) -> None:
    heard, sent, port = Heard(status=0x0110), slices(range(3)), free_port()
    node = quickly(start_node(call_back=call_back_to(port)))
    requests = node.spool.ledger.asked_by_others
    with sender(node) as association:
        store(association, sent)
        ask(association, references(sent))
    until(lambda: requests.waiting()[0].attempts >= 2)
    assert "no connection" in requests.waiting()[0].last_error
    with reachable_sender(port, heard):
        heard.next()
        until(lambda: "answered the report with status 0110" in requests.waiting()[0].last_error)
        heard.status = 0
        until(lambda: not requests.waiting())
    (series,) = node.spool.ledger.list_series()
    story = [event.text for event in node.spool.ledger.show(series.id).events]
    assert sum(text.startswith("storage commitment not reported yet") for text in story) == 2


def test_a_sender_that_nobody_can_call_back_is_noted(start_node: NodeFactory) -> None:
    node, sent = quickly(start_node()), slices(range(3))
    with sender(node) as association:
        store(association, sent)
        ask(association, references(sent))
    until(lambda: node.spool.ledger.asked_by_others.waiting()[0].attempts)
    (series,) = node.spool.ledger.list_series()
    story = [event.text for event in node.spool.ledger.show(series.id).events]
    assert "storage commitment not reported yet: no [[source]] with ae_title 'SCANNER' to call back" in story


def test_a_request_survives_a_restart(tmp_path: Path) -> None:
    heard, sent = Heard(), slices(range(3))
    settings = ServerSettings("DICOMNODE", "127.0.0.1", 0)
    spool = Spool(tmp_path / "spool")
    server = StorageServer(settings, spool, DECODABLE)
    server.start()
    with sender(Node(server, spool)) as association:
        store(association, sent)
        ask(association, references(sent))
        server.stop(drain_seconds=0)
    assert spool.ledger.asked_by_others.waiting()
    spool.close()

    spool = Spool(tmp_path / "spool")
    spool.ledger.asked_by_others._clock = lambda: 1e10  # after every wait
    with reachable_sender(0, heard) as port:
        server = StorageServer(settings, spool, DECODABLE, call_back=call_back_to(port))
        server.start()
        assert heard.next()[1].committed == references(sent)
        until(lambda: not spool.ledger.asked_by_others.waiting())
    server.stop(drain_seconds=0)
    spool.close()


def test_a_sender_that_goes_on_sending_gets_its_report_afterwards(start_node: NodeFactory) -> None:
    node = quickly(start_node(completeness=PATIENT))
    heard, sent = Heard(), slices(range(30))
    with sender(node, heard) as association:
        store(association, sent[:3])
        ask(association, references(sent[:3]))
        store(association, sent[3:])
        assert heard.next()[1].committed == references(sent[:3])
        store(association, slices([40]))
    assert len(node.instances()) == 31


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"action_type": 2}, 0x0123),
        ({"instance_uid": "1.2.3"}, 0x0112),
        ({"dataset": without_uids()}, 0x0115),
        ({"dataset": None}, 0x0115),
        ({"class_uid": "1.2.840.10008.5.1.1.1", "meta_uid": SOP_CLASS}, 0x0118),
    ],
    ids=["action", "instance", "empty", "no data set", "class"],
)
def test_a_wrong_request_gets_the_status_that_says_so(
    patient_node: Node, changes: dict[str, object], status: int
) -> None:
    with sender(patient_node) as association:
        assert ask(association, [SCOUT], **changes) == status
        assert ask(association, [SCOUT]) == 0
    (request,) = patient_node.spool.ledger.asked_by_others.waiting()
    assert request.instances == (SCOUT,)


@pytest.mark.parametrize(
    ("event_type", "build", "status"),
    [
        (1, lambda: build_report(Report("1.2.3.77", (SCOUT,))), 0x0115),
        (3, lambda: build_report(Report("1.2.3.77", (SCOUT,))), 0x0113),
        (1, without_uids, 0x0115),
    ],
    ids=["unknown transaction", "unknown event", "empty"],
)
def test_a_report_that_was_not_asked_for_is_refused(
    node: Node, event_type: int, build: Callable[[], Dataset], status: int
) -> None:
    assert report_to(node, event_type, build()) == status


def report_to(node: Node, event_type: int, dataset: Dataset) -> int:
    """As a destination reports on a new association: it is the SCP there."""
    entity = AE("PACS")
    entity.add_requested_context(SOP_CLASS)
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = SOP_CLASS, False, True
    association = entity.associate("127.0.0.1", node.port, ae_title="DICOMNODE", ext_neg=[role])
    (context,) = association.accepted_contexts
    assert context.as_scp
    answer, _ = association.send_n_event_report(dataset, event_type, SOP_CLASS, SOP_INSTANCE)
    association.release()
    return int(answer.Status)
