"""How long a series may stay in each state that waits, and what its overdue moment is."""

from __future__ import annotations

from dataclasses import dataclass

from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.states import SeriesState


@dataclass(frozen=True)
class Deadlines:
    """Seconds in a state, counted from the moment it began (``receiving``: from the last new instance).

    None of them ends in losing something:

    ============  ==================================================================================
    receiving     the series is marked complete with the evidence there is; longer means a fault
    complete      no worker takes it: an alarm
    analyzing     the worker is replaced and the series tried again; longer means a fault
    delivering    a destination doesn't take it: an alarm, and after the retention time ``failed``
    delivered     a destination doesn't promise to keep it: an alarm; it isn't purged
    ============  ==================================================================================

    Raises
    ------
    ValueError
        If one isn't positive.
    """

    receiving: float
    complete: float
    analyzing: float
    delivering: float
    delivered: float

    def __post_init__(self) -> None:
        if min(self.receiving, self.complete, self.analyzing, self.delivering, self.delivered) <= 0:
            raise ValueError("a deadline is a positive number of seconds")

    def until(self, series: SeriesRecord, *, awaits_commitment: bool = False) -> float | None:
        """When the series is overdue, in seconds since 1970; ``None`` in a state that doesn't wait."""
        since = max(series.state_since, series.last_received_at)
        match series.state:
            case SeriesState.RECEIVING:
                return since + self.receiving
            case SeriesState.COMPLETE:
                return series.state_since + self.complete
            case SeriesState.ANALYZING:
                return series.state_since + self.analyzing
            case SeriesState.DELIVERING:
                return series.state_since + self.delivering
            case SeriesState.DELIVERED if awaits_commitment:
                return series.state_since + self.delivered
            case _:
                return None
