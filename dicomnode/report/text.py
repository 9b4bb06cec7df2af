"""Our own text inside objects of any character set, and the precision of printed numbers."""

from __future__ import annotations

import unicodedata

REPLACEMENTS = {"°": " degrees", "±": "+/-", "×": "x", "–": "-", "—": "-", "µ": "u", "²": "2", "³": "3"}
AMBIGUOUS = {"\\": "/", "~": "-"}
"""Other characters in JIS X 0201 and Korean ISO 646, and the backslash separates values."""

DECIMALS = {"centroid_mm": 1, "distance_mm": 1, "_ml": 3, "_percent": 3, "_g": 3, "_hu": 2, "_mm": 4}
OTHER_DECIMALS = 5


def ascii_text(text: str, limit: int | None = None) -> str:
    """``text`` in the characters that every Specific Character Set shares (PS3.5 6.1.2), cut to ``limit``."""
    for character, replacement in (REPLACEMENTS | AMBIGUOUS).items():
        text = text.replace(character, replacement)
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    printable = "".join(
        character if " " <= character <= "}" else " " if character.isspace() else "?" for character in plain
    )
    return " ".join(printable.split())[:limit].rstrip()


def printed(name: str, value: float) -> float:
    """``value`` of the measurement ``name`` rounded to the precision that every result prints.

    A thousandth of a mL, % or g, a hundredth of a HU, a tenth of a mm of a place: finer than any measurement,
    and coarse enough that sums taken in another order on another machine print the same.
    """
    decimals = next((n for suffix, n in DECIMALS.items() if name.endswith(suffix)), OTHER_DECIMALS)
    return round(float(value), decimals) + 0.0
