"""What ``dicomnode check`` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One sentence about one subject: ``ok``, a ``note`` to know, or ``wrong`` and to be put right."""

    subject: str
    severity: Literal["ok", "note", "wrong"]
    sentence: str
