"""Which association brings which series, and, where the configuration asks for it, of which patient."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from dicomnode.receive.observer import ReceiveObserver, StoreOutcome
from dicomnode.receive.patient import decode_patient
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.moves import get
from dicomnode.spool.records import Kept

LOGGER = logging.getLogger(__name__)

_REMEMBERED_SERIES = 10_000

# Between instances that follow each other so closely on one association, no series gets complete.
_CLOSE_SECONDS = 0.2


@dataclass(frozen=True)
class _Seen:
    generation: int
    association: int
    at: float


class SeriesLog(ReceiveObserver):
    """One line for the first instance of each series and generation.

    Parameters
    ----------
    identifiers:
        Whether the line has patient ID, accession number and UIDs.
    """

    def __init__(self, ledger: Ledger, *, identifiers: bool) -> None:
        self._ledger = ledger
        self._identifiers = identifiers
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """Log the first instance of a series, and the first late one."""
        if outcome.kept is not Kept.NEW:
            return
        generation = self._new_generation(outcome.series_id, outcome.caller.association)
        if generation is None:
            return
        extra = {
            "series": outcome.series_id,
            "generation": generation,
            "association": outcome.caller.association,
            "calling_ae_title": outcome.caller.ae_title,
        }
        LOGGER.info("series begins", extra={**extra, **self._identifiers_of(outcome)})

    def _identifiers_of(self, outcome: StoreOutcome) -> dict[str, str]:
        if not self._identifiers or outcome.identity is None:
            return {}
        patient = decode_patient(outcome.identity.patient)
        return {
            "patient_id": patient.id,
            "accession_number": patient.accession_number,
            "study_instance_uid": outcome.identity.study_instance_uid,
            "series_instance_uid": outcome.identity.series_instance_uid,
        }

    def _new_generation(self, series_id: str, association: int) -> int | None:
        """The generation of the series, if it hasn't been logged yet."""
        now = time.monotonic()
        with self._lock:
            seen = self._seen.get(series_id)
        if seen is not None and seen.association == association and now - seen.at < _CLOSE_SECONDS:
            self._remember(series_id, _Seen(seen.generation, association, now))
            return None  # without asking the ledger, which has more important things to do
        with self._ledger.database.read() as connection:
            generation = get(connection, series_id).generation
        return generation if self._remember(series_id, _Seen(generation, association, now)) else None

    def _remember(self, series_id: str, now: _Seen) -> bool:
        """Whether this generation is new."""
        with self._lock:
            before = self._seen.get(series_id)
            if before is not None and before.generation > now.generation:
                return False
            self._seen[series_id] = now
            self._seen.move_to_end(series_id)
            if len(self._seen) > _REMEMBERED_SERIES:
                self._seen.popitem(last=False)
        return before is None or before.generation < now.generation
