"""Senders that ask for storage commitment, and systems that are called back."""

from __future__ import annotations

import queue
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association

from dicomnode.callback import senders
from dicomnode.config import Config
from dicomnode.receive.calling import Connect
from dicomnode.storage_commitment import SOP_CLASS, SOP_INSTANCE, Report, Request, build_request, read_report
from tests.dicom_network import CT_IMAGE_STORAGE, make_ct

AE_TITLE = "SCANNER"


class Listening(Protocol):
    """A node, in this process or another."""

    @property
    def port(self) -> int: ...


@dataclass
class Heard:
    """What a sender was told: event type and report of each N-EVENT-REPORT, and who was SCP there."""

    reports: queue.SimpleQueue[tuple[int, Report]] = field(default_factory=queue.SimpleQueue)
    roles: list[tuple[bool, bool]] = field(default_factory=list)
    status: int = 0x0000

    def __call__(self, event: evt.Event) -> tuple[int, None]:
        proposed = event.assoc.requestor.role_selection.get(SOP_CLASS)
        if proposed is not None:
            self.roles.append((proposed.scu_role, proposed.scp_role))
        self.reports.put((event.event_type, read_report(event.event_information)))
        return self.status, None

    def next(self) -> tuple[int, Report]:
        return self.reports.get(timeout=20)


def slices(numbers: Sequence[int]) -> list[Dataset]:
    """Of one series, 10 mm apart."""
    return [
        make_ct(
            number,
            ImagePositionPatient=[0.0, 0.0, 10.0 * number],
            ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        )
        for number in numbers
    ]


def references(datasets: Sequence[Dataset]) -> tuple[tuple[str, str], ...]:
    return tuple((str(one.SOPClassUID), str(one.SOPInstanceUID)) for one in datasets)


@contextmanager
def sender(node: Listening, heard: Heard | None = None) -> Iterator[Association]:
    """An association that stores and asks; not released at the end if it isn't open any more."""
    entity = AE(AE_TITLE)
    entity.add_requested_context(CT_IMAGE_STORAGE, ExplicitVRLittleEndian)
    entity.add_requested_context(SOP_CLASS)
    handlers = [(evt.EVT_N_EVENT_REPORT, heard)] if heard else []
    association = entity.associate("127.0.0.1", node.port, ae_title="DICOMNODE", evt_handlers=handlers)
    assert association.is_established
    yield association
    if association.is_established:
        association.release()


def store(association: Association, datasets: Sequence[Dataset]) -> None:
    for dataset in datasets:
        assert association.send_c_store(dataset).Status == 0


def ask(
    association: Association,
    instances: Sequence[tuple[str, str]],
    transaction_uid: str = "1.2.3.9",
    **changes: Any,
) -> int:
    """The status of the answer to an N-ACTION."""
    question = {
        "dataset": build_request(Request(transaction_uid, tuple(instances))),
        "action_type": 1,
        "class_uid": SOP_CLASS,
        "instance_uid": SOP_INSTANCE,
        **changes,
    }
    status, _ = association.send_n_action(**question)
    return int(status.Status)


@contextmanager
def reachable_sender(
    port: int, heard: Heard, *, roles: bool = True, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A sender that listens for reports; without ``roles`` it doesn't know of role selection."""
    entity = AE(AE_TITLE)
    selection = {"scu_role": True, "scp_role": True} if roles else {}
    entity.add_supported_context(SOP_CLASS, **selection)
    handlers = [(evt.EVT_N_EVENT_REPORT, heard)]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


def call_back_to(port: int, ae_title: str = AE_TITLE) -> dict[str, Connect]:
    """As the node wires it from its configuration."""
    source = {"ae_title": ae_title, "host": "127.0.0.1", "port": port}
    return dict(senders(Config(source=(source,))))  # type: ignore[arg-type]
