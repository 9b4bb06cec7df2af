"""Whether a scan's kernel is soft, standard or sharp: by its name, else by its noise."""

from __future__ import annotations

import re
from dataclasses import dataclass

SOFT, STANDARD, SHARP = "soft", "standard", "sharp"
HEADER, IMAGE = "header", "image"

NAMES = {
    SOFT: ("SOFT", "A"),
    STANDARD: ("STANDARD", "STND", "CHEST", "DETAIL", "B", "C", "BODY"),
    SHARP: ("LUNG", "BONE", "BONEPLUS", "EDGE", "ULTRA", "D", "E", "L", "YA", "YB", "YC", "YD"),
}
"""Of GE (words) and Philips (letters)."""

SIEMENS = re.compile(r"^(?:[BHIJDTU]|B[RVLM]|H[RC]|QR)(\d\d)")
SIEMENS_STANDARD, SIEMENS_SHARP = 30, 50
"""Two digits of Siemens kernels from 10 (smooth) to 90 (sharp): B30f and Br40 are for soft tissue, B50f and
Bl57 for lungs."""

CANON = re.compile(r"^FC(\d\d)")
CANON_SHARP = (range(30, 40), range(50, 60), range(80, 90))
"""Bone, lung and high resolution; the others are for body and head."""

SOFT_FROM_MM = 0.62
SHARP_TO_MM = 0.30
"""Of the noise's grain. Real axial CT with the kernel STANDARD has 0.36 to 0.43 mm, phantoms of a soft,
standard and sharp kernel 0.72, 0.51 and 0.23 mm."""


@dataclass(frozen=True)
class KernelType:
    """``soft``, ``standard`` or ``sharp``, and whether the ``header`` or the ``image`` says so."""

    kind: str
    told_by: str


def kernel_type(name: str | None, grain_mm: float | None) -> KernelType | None:
    """Kind of kernel; ``None`` where neither its name nor the noise tells.

    Parameters
    ----------
    name:
        Convolution Kernel (0018,1210).
    grain_mm:
        As :func:`dicomnode.measure.noise.grain_mm` gives it; looked at where the name isn't known.
    """
    by_name = _kind_of(name) if name else None
    if by_name is not None:
        return KernelType(by_name, HEADER)
    if grain_mm is None:
        return None
    kind = SOFT if grain_mm > SOFT_FROM_MM else SHARP if grain_mm < SHARP_TO_MM else STANDARD
    return KernelType(kind, IMAGE)


def _kind_of(name: str) -> str | None:
    first = name.split("\\", maxsplit=1)[0].strip().upper()
    for kind, names in NAMES.items():
        if first in names:
            return kind
    if siemens := SIEMENS.match(first):
        sharpness = int(siemens[1])
        return SOFT if sharpness < SIEMENS_STANDARD else STANDARD if sharpness < SIEMENS_SHARP else SHARP
    if canon := CANON.match(first):
        return SHARP if any(int(canon[1]) in sharp for sharp in CANON_SHARP) else STANDARD
    return None
