"""Earlier results for the tests."""

from __future__ import annotations

from datetime import date

from dicomnode.measure.priors import EarlierResult, Findings, Maker, Scan, SearchRemark

MAKER = Maker("dicomnode 0.0", "test_threshold", "1.2", "ab" * 32, "cd" * 32)
NOW = Scan("1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3", date(2024, 2, 29), "101112")
SR = "1.2.840.10008.5.1.4.1.1.88.34"


def scan(number: int, made: date, **changes: object) -> Scan:
    """Of another study."""
    return Scan(f"1.2.3.{number}", f"1.2.3.{number}.1", made, **changes)  # type: ignore[arg-type]


def result(number: int, made: date, values: dict[str, float], **changes: object) -> EarlierResult:
    """Of another study, by the same model as now."""
    parts: dict[str, object] = {
        "scan": scan(number, made),
        "maker": MAKER,
        "values": values,
        "sop_class_uid": SR,
        "report_series_uid": f"2.25.{number}",
        "report_uid": f"2.25.{number}0",
        "found_in": "ledger",
    }
    return EarlierResult(**{**parts, **changes})  # type: ignore[arg-type]


def findings(*results: EarlierResult, now: Scan = NOW, remarks: tuple[SearchRemark, ...] = ()) -> Findings:
    """What a search of the ledger brought."""
    return Findings(now, ("ledger",), results, remarks)
