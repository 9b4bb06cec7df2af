"""A storage SCP that remembers what came and answers as it is told, and a ledger with results for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt

from dicomnode.deliver.destination import Destination
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import NewInstance, series_key
from tests.deliver.test_sender import save
from tests.dicom_network import CT_IMAGE_STORAGE
from tests.spool.ledger_cases import Result

SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]
SEG = "1.2.840.10008.5.1.4.1.1.66.4"

ABORT = -1


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class RecordingPacs:
    """Takes ``sop_classes``; ``answer`` says with which status, or :data:`ABORT`."""

    def __init__(self, port: int = 0, sop_classes: Sequence[str] = (CT_IMAGE_STORAGE, SEG)) -> None:
        self.port = port
        self.received: list[str] = []
        self.offered: list[str] = []
        self.associations = 0
        self.answer: Callable[[str], int] = lambda _uid: 0
        self._lock = threading.Lock()
        self._ae = AE("PACS")
        for sop_class in sop_classes:
            self._ae.add_supported_context(sop_class, SYNTAXES)
        self._server: Any = None

    def start(self) -> None:
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_REQUESTED, self._on_requested)]
        self._server = self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def stop(self) -> None:
        self._server.shutdown()

    def _on_requested(self, _event: evt.Event) -> None:
        with self._lock:
            self.associations += 1

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        status = self.answer(uid)
        with self._lock:
            self.offered.append(uid)
            if status == 0 or status >> 12 == 0xB:
                self.received.append(uid)
        if status == ABORT:
            event.assoc.abort()
            return 0xC000
        return status


@contextmanager
def pacs(port: int = 0, sop_classes: Sequence[str] = (CT_IMAGE_STORAGE, SEG)) -> Iterator[RecordingPacs]:
    running = RecordingPacs(port, sop_classes)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def make_results(
    ledger: Ledger,
    destinations: Sequence[Destination],
    number: int,
    kinds: Sequence[str] = ("seg", "sr"),
    seg_class: str = CT_IMAGE_STORAGE,
) -> list[str]:
    """Series ``number`` analyzed, its results queued; their UIDs in the order of delivery.

    The objects are small slices; of ``seg_class`` those that stand for masks.
    """
    study, series = "1.2", f"1.2.{number + 10}"
    new = NewInstance(study, series, f"{series}.1", "1.5", "1.2.840", "a" * 64, "SCANNER")
    ledger.record_instance(new, Path(f"x{number}"), 1)
    series_id = series_key(study, series)
    ledger.mark_complete(series_id, "quiet")
    claimed = ledger.claim_next()
    assert claimed is not None and claimed.id == series_id
    made = []
    for position, kind in enumerate(kinds):
        sop_class = seg_class if kind == "seg" else CT_IMAGE_STORAGE
        path = save(ledger.directory, 10 * number + position, SOPClassUID=sop_class)
        uid = f"1.2.826.0.1.3680043.8.498.1.{10 * number + position}"
        made.append(Result(kind, uid, path, sop_class))
    ledger.record_results(series_id, claimed.generation, made, destinations, ("seg", "sr"))
    return [one.sop_instance_uid for one in made if one.kind != "sc"]


def state_of(ledger: Ledger, number: int) -> str:
    return ledger.show(series_key("1.2", f"1.2.{number + 10}")).series.state.value
