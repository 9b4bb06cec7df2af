"""A series with results in a ledger, for tests of what happens to it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import Kept, NewInstance, SeriesRecord, series_key

SERIES = series_key("1.2", "1.2.3")


@dataclass(frozen=True)
class Result:
    kind: str
    sop_instance_uid: str
    path: Path
    sop_class_uid: str = "1.2.840.10008.5.1.4.1.1.88.34"
    series_instance_uid: str = "2.25.9"


@dataclass(frozen=True)
class Receiver:
    name: str
    accepts: tuple[str, ...] = ("seg", "sr")
    commitment: bool = False


def instance(number: int = 1, content: str = "a", series: str = "1.2.3") -> NewInstance:
    uid = f"{series}.{number}"
    return NewInstance("1.2", series, uid, "1.5", "1.2.840.10008.1.2.1", content * 64, "SCANNER")


def arrive(ledger: Ledger, number: int = 1, series: str = "1.2.3") -> Kept:
    path = Path(f"instances/{series_key('1.2', series)}/{number}.dcm")
    return ledger.record_instance(instance(number, series=series), path, 1000)


def results(generation: int = 1, series: int = 1, kinds: Sequence[str] = ("seg", "sr", "sc")) -> list[Result]:
    return [
        Result(kind, f"2.25.{series}{generation}{number}", Path(f"/results/{series}/{generation}/{kind}.dcm"))
        for number, kind in enumerate(kinds, start=1)
    ]


def analyzed(
    ledger: Ledger,
    destinations: Sequence[Receiver],
    *,
    number: int = 1,
    generation: int = 1,
    include: Sequence[str] = ("seg", "sr"),
) -> SeriesRecord:
    """Series ``number`` with its results queued for ``destinations``."""
    uid = f"1.2.{number + 2}"
    arrive(ledger, generation, uid)
    series_id = series_key("1.2", uid)
    ledger.mark_complete(series_id, "quiet")
    claimed = ledger.claim_next()
    assert claimed is not None and claimed.id == series_id
    made = results(generation, number)
    return ledger.record_results(series_id, generation, made, destinations, include)
