"""Who keeps count is told what happened at the front door, and can't harm it."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest

from dicomnode.receive.access import Rejection
from dicomnode.receive.observer import Caller, ReceiveObserver, StoreOutcome
from dicomnode.spool.records import Kept
from dicomnode.tls import server_tls
from tests.dicom_network import NodeFactory, associate, make_certificate, make_ct, until


class Diary(ReceiveObserver):
    """Writes down everything."""

    def __init__(self) -> None:
        self.failed: list[BaseException | None] = []
        self.rejected: list[tuple[Caller, Rejection]] = []
        self.established: list[Caller] = []
        self.answers: list[StoreOutcome] = []
        self.ended: list[int] = []

    def connection_failed(self, address: str, error: BaseException | None) -> None:
        self.failed.append(error)

    def association_rejected(self, caller: Caller, rejection: Rejection) -> None:
        self.rejected.append((caller, rejection))

    def association_established(self, caller: Caller) -> None:
        self.established.append(caller)

    def instance_answered(self, outcome: StoreOutcome) -> None:
        self.answers.append(outcome)

    def association_ended(self, association: int) -> None:
        self.ended.append(association)


class Troublemaker(ReceiveObserver):
    """Fails at everything, with a message that quotes a patient."""

    def instance_answered(self, outcome: StoreOutcome) -> None:
        raise ValueError("Secret^Name")

    association_established = association_ended = instance_answered  # type: ignore[assignment]


def test_an_association_and_its_instances_are_told(start_node: NodeFactory) -> None:
    diary = Diary()
    node = start_node(observers=[diary])
    association = associate(node)
    for _ in range(2):
        assert association.send_c_store(make_ct(1)).Status == 0
    alien = make_ct(2)
    del alien.StudyInstanceUID
    assert association.send_c_store(alien).Status == 0xC000
    association.release()
    until(lambda: diary.ended)

    (caller,) = diary.established
    assert (caller.ae_title, caller.address, caller.association) == ("SCANNER", "127.0.0.1", diary.ended[0])
    assert [(a.status, a.kept) for a in diary.answers] == [
        (0, Kept.NEW),
        (0, Kept.DUPLICATE),
        (0xC000, None),
    ]
    (series,) = node.spool.ledger.list_series()
    first, _, unknown = diary.answers
    assert first.series_id == series.id
    assert first.identity is not None
    assert first.identity.patient.patient_name == b"Secret^Name "
    assert first.size > 512
    assert 0 < first.seconds < 10
    assert unknown.identity is None


def test_rejected_and_failed_connections_are_told(start_node: NodeFactory, tmp_path: Path) -> None:
    diary = Diary()
    node = start_node(observers=[diary])
    assert node.dcmtk("echoscu", called="SOMEBODY").returncode != 0
    until(lambda: diary.rejected)
    ((caller, rejection),) = diary.rejected
    assert (caller.ae_title, rejection.reason) == ("ECHOSCU", 7)

    cert, key = make_certificate(tmp_path, "node")
    secured = start_node(observers=[diary], tls=server_tls(cert, key))
    with secured.connect() as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until(lambda: diary.failed)
    assert isinstance(diary.failed[0], ssl.SSLError)


def test_an_observer_that_fails_harms_nobody(
    start_node: NodeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary()
    node = start_node(observers=[Troublemaker(), diary])
    association = associate(node)
    with caplog.at_level(logging.DEBUG, logger="dicomnode"):
        assert association.send_c_store(make_ct(1)).Status == 0
        association.release()
        until(lambda: diary.ended)
    assert len(diary.answers) == len(node.instances()) == 1
    assert "instance_answered not noted: unexpected ValueError" in caplog.text
    assert "Secret" not in caplog.text
