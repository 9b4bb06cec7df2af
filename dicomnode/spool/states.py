"""The states of a series and the only moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class SeriesState(StrEnum):
    """Where a series stands; the words appear in the ledger, the log and ``dicomnode status``."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    ANALYZING = "analyzing"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    COMMITTED = "committed"
    REFUSED = "refused"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """One result object on its way to one destination."""

    PENDING = "pending"
    DELIVERED = "delivered"
    COMMITTED = "committed"  # the destination has promised to keep it (storage commitment)
    REFUSED = "refused"  # the destination will never take it, or nobody waits for it any more
    SUPERSEDED = "superseded"  # late slices made it obsolete before it was sent


HELD = (DeliveryState.DELIVERED, DeliveryState.COMMITTED)
"""The destination has the object."""


_S = SeriesState

# A late slice takes a series back to receiving from everywhere; retry takes it back to complete, or to
# delivering if only the delivery had failed; an object that its destination lost is delivered again.
TRANSITIONS: Mapping[SeriesState, frozenset[SeriesState]] = MappingProxyType(
    {
        _S.RECEIVING: frozenset({_S.COMPLETE, _S.FAILED}),
        _S.COMPLETE: frozenset({_S.ANALYZING, _S.FAILED, _S.RECEIVING}),
        _S.ANALYZING: frozenset(
            {_S.DELIVERING, _S.DELIVERED, _S.REFUSED, _S.FAILED, _S.COMPLETE, _S.RECEIVING}
        ),
        _S.DELIVERING: frozenset({_S.DELIVERED, _S.FAILED, _S.COMPLETE, _S.RECEIVING}),
        _S.DELIVERED: frozenset({_S.COMMITTED, _S.DELIVERING, _S.FAILED, _S.RECEIVING}),
        _S.COMMITTED: frozenset({_S.FAILED, _S.RECEIVING}),
        _S.REFUSED: frozenset({_S.COMPLETE, _S.FAILED, _S.RECEIVING}),
        _S.FAILED: frozenset({_S.COMPLETE, _S.DELIVERING, _S.RECEIVING}),
    }
)
