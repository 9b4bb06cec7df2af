"""How the pages write times, sizes and states."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

STATE_WORDS: Mapping[str, str] = {
    "receiving": "slices are arriving",
    "complete": "waits for a worker",
    "analyzing": "is being measured",
    "delivering": "results are on their way",
    "delivered": "every destination has its results",
    "committed": "every destination has promised to keep them",
    "refused": "can't be measured; the study says why",
    "failed": "something went wrong here; retry",
}
"""What a state means, to somebody who reads it for the first time."""

STAGE_WORDS: Mapping[str, str] = {
    "load": "loading the model",
    "assemble": "assembling the volume",
    "lungs": "finding the lungs",
    "lesions": "finding lesions",
    "measure": "measuring",
    "report": "writing the report",
}

_UNITS = ("B", "kB", "MB", "GB", "TB")
_NOTHING = "–"


def when(seconds: float | None) -> str:
    """Local date and time; today's without the date."""
    if seconds is None:
        return _NOTHING
    there, now = time.localtime(seconds), time.localtime()
    form = "%H:%M:%S" if there[:3] == now[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, there)


def whole_when(seconds: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def iso(seconds: float) -> str:
    """For the ``datetime`` attribute."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def duration(seconds: float | None) -> str:
    """``8 s``, ``3 min``, ``2.5 h``, ``4 days``."""
    if seconds is None:
        return _NOTHING
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in _UNITS:
        if count < 999.5 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if count >= 99.5 or unit == "B" else f"{count:.1f} {unit}"


def number(value: Any, decimals: int | None = None) -> str:
    """With thousands apart and a true minus; four digits where no decimals are asked for."""
    if value is None:
        return _NOTHING
    if isinstance(value, int) and decimals is None:
        return f"{value:,}".replace(",", "\u2009").replace("-", "\u2212")
    if decimals is None:
        decimals = max(0, 3 - len(str(int(abs(value)))))
    return f"{value:,.{decimals}f}".replace(",", "\u2009").replace("-", "\u2212")


def short(uid: str) -> str:
    """The end of a UID."""
    return uid if len(uid) <= 16 else f"…{uid[-12:]}"


FILTERS: Mapping[str, Callable[..., str]] = {
    "when": when,
    "whole_when": whole_when,
    "iso": iso,
    "duration": duration,
    "size": size,
    "number": number,
    "short": short,
    "state_words": lambda state: STATE_WORDS.get(str(state), ""),
    "stage_words": lambda stage: STAGE_WORDS.get(stage, stage),
}
