"""What a destination's answer means for the object: there, refused for good, or worth another attempt.

One table for C-STORE (PS3.4 B.2.3, PS3.7 9.1.1.1.9 and Annex C), one for STOW-RS (PS3.18 10.5.3). A Failure
Reason (0008,1197) of STOW-RS has the meaning of the C-STORE status with the same number (PS3.18 I.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What became of an object that was offered."""

    STORED = "stored"
    OBJECT_REFUSED = "object refused"  # for good, this one
    KIND_REFUSED = "kind refused"  # for good, and every other of its SOP class
    NOT_NOW = "not now"  # this one later; the destination works
    LOST = "lost"  # no answer: the association or connection ended while the object was on its way
    UNREACHABLE = "unreachable"  # the object was not offered at all, others can't be either
    UNSENDABLE = "unsendable"  # the file here is damaged or gone

    @property
    def is_final(self) -> bool:
        """Whether another attempt would change nothing."""
        return self in (Verdict.STORED, Verdict.OBJECT_REFUSED, Verdict.KIND_REFUSED)


@dataclass(frozen=True)
class Answer:
    """A row of the tables: statuses from ``first`` to ``last``."""

    first: int
    last: int
    verdict: Verdict
    sentence: str
    reference: str


_OBJECT, _KIND = Verdict.OBJECT_REFUSED, Verdict.KIND_REFUSED
_NOT_NOW, _LOST, _UNREACHABLE = Verdict.NOT_NOW, Verdict.LOST, Verdict.UNREACHABLE

C_STORE_ANSWERS = (
    Answer(0x0000, 0x0000, Verdict.STORED, "", "PS3.7 C.1.1"),
    # The UIDs of results are derived from what they were made of: the duplicate is this object.
    Answer(0x0111, 0x0111, Verdict.STORED, "it had the object already", "PS3.7 C.5.11"),
    Answer(0xB000, 0xB000, Verdict.STORED, "stored with coerced data elements", "PS3.4 Table B.2-1"),
    Answer(0xB006, 0xB006, Verdict.STORED, "stored with elements discarded", "PS3.4 Table B.2-1"),
    Answer(
        0xB007, 0xB007, Verdict.STORED, "stored, though it doesn't match its SOP class", "PS3.4 Table B.2-1"
    ),
    Answer(0x0122, 0x0122, _KIND, "SOP class not supported", "PS3.7 9.1.1.1.9"),
    Answer(0xA900, 0xA9FF, _OBJECT, "data set does not match its SOP class", "PS3.4 Table B.2-1"),
    Answer(0xC000, 0xCFFF, _OBJECT, "cannot understand", "PS3.4 Table B.2-1"),
    Answer(0xA700, 0xA7FF, _NOT_NOW, "out of resources", "PS3.4 Table B.2-1"),
    Answer(0x0110, 0x0110, _NOT_NOW, "processing failure", "PS3.7 C.5.21"),
    Answer(0x0117, 0x0117, _NOT_NOW, "invalid object instance", "PS3.7 C.5.7"),
    Answer(0x0124, 0x0124, _NOT_NOW, "not authorized", "PS3.7 C.5.25"),
    Answer(0x0000, 0xFFFF, _NOT_NOW, "refused", "PS3.7 Annex C"),
)
"""The first row that fits counts. What is not refused for good by the standard is tried again."""

HTTP_ANSWERS = (
    Answer(200, 200, Verdict.STORED, "", "PS3.18 Table 10.5.3-1"),
    Answer(202, 202, _NOT_NOW, "it says neither that it stored the object nor why not", "PS3.18 10.5.3"),
    Answer(204, 204, _UNREACHABLE, "no STOW-RS service answers at this address", "PS3.18 10.5.3"),
    Answer(201, 299, Verdict.STORED, "", "PS3.18 10.5.3"),
    Answer(400, 400, _OBJECT, "bad request", "PS3.18 Table 10.5.3-1"),
    Answer(401, 401, _UNREACHABLE, "it wants other credentials", "PS3.18 8.5"),
    Answer(403, 403, _UNREACHABLE, "we are not allowed to store", "PS3.18 8.5"),
    Answer(409, 409, _OBJECT, "not stored, for no reason that it tells", "PS3.18 Table 10.5.3-1"),
    Answer(413, 413, _OBJECT, "the object is too large for it", "PS3.18 8.5"),
    Answer(415, 415, _OBJECT, "it doesn't take this media type or transfer syntax", "PS3.18 10.5.3"),
    Answer(422, 422, _OBJECT, "unprocessable", "RFC 9110 15.5.21"),
    Answer(408, 408, _UNREACHABLE, "it waited too long for the request", "RFC 9110 15.5.9"),
    Answer(429, 429, _UNREACHABLE, "too many requests", "RFC 6585 4"),
    Answer(500, 500, _LOST, "internal server error", "RFC 9110 15.6.1"),
    Answer(507, 507, _NOT_NOW, "insufficient storage", "RFC 4918 11.5"),
    Answer(503, 503, _UNREACHABLE, "service unavailable", "PS3.18 Table 10.5.3-1"),
    Answer(0, 999, _UNREACHABLE, "no STOW-RS service answers at this address", "RFC 9110 15"),
)
"""Where the body has a verdict on the object it counts, not this."""


def c_store_answer(status: int) -> Answer:
    """What a C-STORE status or a Failure Reason means."""
    return _find(C_STORE_ANSWERS, status)


def http_answer(status: int) -> Answer:
    """What an HTTP status means if the body doesn't say it."""
    return _find(HTTP_ANSWERS, status)


def _find(table: tuple[Answer, ...], status: int) -> Answer:
    return next((row for row in table if row.first <= status <= row.last), table[-1])
