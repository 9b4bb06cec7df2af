"""Asking a system that knows the study how many instances a series has (C-FIND, PS3.4 Annex C)."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from dicomnode.receive.calling import Connect, NoAnswerError, UnreachableError
from dicomnode.receive.evidence import Opinion, Says, SourceAnswer, opinion_of_source
from dicomnode.spool.errors import SpoolError
from dicomnode.spool.ledger import Ledger

LOGGER = logging.getLogger(__name__)

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PENDING = (0xFF00, 0xFF01)
SUCCESS = 0x0000
MAXIMUM_ANSWERS = 100_000

_SILENCE_SECONDS = 30.0  # one that didn't answer isn't asked for so long, else each series would wait for it
_STOP_SECONDS = 2.0


class Source(Protocol):
    """Whom :class:`Inquiries` asks; it never raises."""

    def ask(self, study_instance_uid: str, series_instance_uid: str) -> SourceAnswer:
        """What it knows of the series."""


class CountSource:
    """A C-FIND SCP of the Study Root model.

    Parameters
    ----------
    ae_title:
        For the sentences.
    connect:
        Reaches it.
    """

    def __init__(self, ae_title: str, connect: Connect) -> None:
        self._ae_title = ae_title
        self._connect = connect
        self._silent_until = 0.0
        self._why = ""

    def ask(self, study_instance_uid: str, series_instance_uid: str) -> SourceAnswer:
        """The UIDs of its instances; else their number; else why neither is to be had."""
        if time.monotonic() < self._silent_until:
            return SourceAnswer(self._ae_title, problem=self._why)
        query = Dataset()
        query.StudyInstanceUID = study_instance_uid
        query.SeriesInstanceUID = series_instance_uid
        try:
            with self._connect([build_context(STUDY_ROOT_FIND)], []) as association:
                return self._ask(association, query)
        except (NoAnswerError, UnreachableError) as error:
            return self._silent(str(error))
        except Exception as error:  # whatever pydicom makes of an answer: its words could quote it
            return self._silent(type(error).__name__)

    def _silent(self, why: str) -> SourceAnswer:
        self._silent_until, self._why = time.monotonic() + _SILENCE_SECONDS, why
        return SourceAnswer(self._ae_title, problem=why)

    def _ask(self, association: Association, query: Dataset) -> SourceAnswer:
        query.QueryRetrieveLevel = "IMAGE"
        query.SOPInstanceUID = ""
        try:
            found = [
                str(answer.get("SOPInstanceUID", ""))
                for answer in _find(association, query)
                if answer.get("SeriesInstanceUID", query.SeriesInstanceUID) == query.SeriesInstanceUID
            ]
        except NoAnswerError:
            if not association.is_established:
                raise
            found = []  # not every SCP has the IMAGE level
        if found and all(found):
            return SourceAnswer(self._ae_title, sop_instance_uids=frozenset(found))
        query.QueryRetrieveLevel = "SERIES"
        del query.SOPInstanceUID
        query.NumberOfSeriesRelatedInstances = None
        for answer in _find(association, query):
            if str(answer.get("SeriesInstanceUID", "")) == query.SeriesInstanceUID:
                number = answer.get("NumberOfSeriesRelatedInstances")
                if number:
                    return SourceAnswer(self._ae_title, count=int(number))
        return SourceAnswer(self._ae_title, problem="it doesn't know the series")


class Inquiries:
    """Asks in a thread of its own, one series after the other, so that nobody waits for the source.

    Parameters
    ----------
    answered:
        Gets the series, the number of the question, and what the answer says of what is kept.
    """

    def __init__(self, ledger: Ledger, source: Source, answered: Callable[[str, int, Opinion], None]) -> None:
        self._ledger = ledger
        self._source = source
        self._answered = answered
        self._questions: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="count-source", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; an answer that is waited for is not waited for long."""
        self._questions.put(None)
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def ask(self, series_id: str, question: int) -> None:
        """Put a question; returns at once."""
        self._questions.put((series_id, question))

    def _run(self) -> None:
        while (next_one := self._questions.get()) is not None:
            series_id, question = next_one
            try:
                opinion = self._opinion(series_id)
            except SpoolError as error:
                LOGGER.error("the count source isn't asked: %s", error, extra={"series": series_id})
                opinion = Opinion(Says.NOTHING, "the ledger could not be read")
            self._answered(series_id, question, opinion)

    def _opinion(self, series_id: str) -> Opinion:
        series = self._ledger.show(series_id).series
        answer = self._source.ask(series.study_instance_uid, series.series_instance_uid)
        kept = {instance.sop_instance_uid for instance in self._ledger.instances(series_id)}
        return opinion_of_source(answer, kept)


def _find(association: Association, query: Dataset) -> Iterator[Dataset]:
    for number, (status, answer) in enumerate(association.send_c_find(query, STUDY_ROOT_FIND)):
        if "Status" not in status:
            raise NoAnswerError("no answer to C-FIND")
        if status.Status in PENDING and answer is not None:
            if number >= MAXIMUM_ANSWERS:
                raise NoAnswerError(f"more than {MAXIMUM_ANSWERS} answers to C-FIND")
            yield answer
        elif status.Status != SUCCESS:
            raise NoAnswerError(f"C-FIND was answered with status {status.Status:04X}")
