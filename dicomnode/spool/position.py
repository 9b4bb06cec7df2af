"""Where an image lies, as one number."""

from __future__ import annotations


def position_mm(position: object, orientation: object) -> float | None:
    """Where an image plane lies along its normal (PS3.3 C.7.6.2.1.1); ``None`` if it doesn't say.

    Parameters
    ----------
    position:
        Three numbers in mm.
    orientation:
        Six direction cosines.
    """
    try:
        x, y, z = (float(value) for value in position)  # type: ignore[attr-defined]
        a, b, c, d, e, f = (float(value) for value in orientation)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    along = x * (b * f - c * e) + y * (c * d - a * f) + z * (a * e - b * d)
    return along if abs(along) < 1e6 else None
