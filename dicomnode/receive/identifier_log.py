"""Which patient is which series? A line of the log tells, where the configuration asks for it."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

from dicomnode.receive.observer import ReceiveObserver, StoreOutcome
from dicomnode.receive.patient import decode_patient
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.moves import get
from dicomnode.spool.records import Kept

LOGGER = logging.getLogger(__name__)

_REMEMBERED_SERIES = 10_000


class IdentifierLog(ReceiveObserver):
    """Logs patient ID, accession number and UIDs once for each series and generation."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._logged: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """Log the first instance of a series, and the first late one."""
        if outcome.kept is not Kept.NEW or outcome.identity is None:
            return
        with self._ledger.database.read() as connection:
            generation = get(connection, outcome.series_id).generation
        if not self._is_first(outcome.series_id, generation):
            return
        patient = decode_patient(outcome.identity.patient)
        LOGGER.info(
            "series begins",
            extra={
                "series": outcome.series_id,
                "generation": generation,
                "association": outcome.caller.association,
                "patient_id": patient.id,
                "accession_number": patient.accession_number,
                "study_instance_uid": outcome.identity.study_instance_uid,
                "series_instance_uid": outcome.identity.series_instance_uid,
            },
        )

    def _is_first(self, series_id: str, generation: int) -> bool:
        with self._lock:
            first = self._logged.get(series_id) != generation
            self._logged[series_id] = generation
            self._logged.move_to_end(series_id)
            if len(self._logged) > _REMEMBERED_SERIES:
                self._logged.popitem(last=False)
        return first
