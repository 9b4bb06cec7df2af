"""CT severity scores: 0 to 25 by lobe (Pan et al. 2020) and 0 to 40 by region (Yang et al. 2020).

The papers leave boundaries open (what 5 %, 25.5 %, 49.5 %, 50 % or 75 % score). They are decided once, in
:data:`LOBE_BANDS` and :data:`REGION_BANDS`; the report states them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

INVOLVEMENT_ML = 0.1
"""Lesions below this in a lobe or region are not distinguishable from noise: it doesn't count as involved.

A cube of 4.6 mm, about the smallest lesion that readers mark on slices of 1 to 5 mm.
"""

CT_SCORE_LOBES = 5
CT_SCORE_MAXIMUM = 25
CT_SS_REGIONS = 20
CT_SS_MAXIMUM = 40

CT_SS_SEVERE = 19.5
"""Above this, severe disease in Yang et al. (Radiol Cardiothorac Imaging 2020;2:e200047); literature only."""


@dataclass(frozen=True)
class Band:
    """One score of an involved part.

    Parameters
    ----------
    score:
        The score.
    to_percent:
        Upper end of the lesion's share.
    inclusive:
        Whether the upper end itself has this score.
    words:
        The band for a reader.
    """

    score: int
    to_percent: float
    inclusive: bool
    words: str

    def holds(self, extent_percent: float) -> bool:
        """Whether a share that no lower band holds is in this one."""
        return extent_percent < self.to_percent or (self.inclusive and extent_percent == self.to_percent)


LOBE_BANDS = (
    Band(1, 5, False, "below 5 %"),
    Band(2, 25, True, "5 to 25 %"),
    Band(3, 50, False, "above 25 to below 50 %"),
    Band(4, 75, True, "50 to 75 %"),
    Band(5, 100, True, "above 75 %"),
)
"""Of a lobe. The paper prints below 5, 5 to 25, 26 to 49, 50 to 75 and above 75 %."""

REGION_BANDS = (Band(1, 50, False, "below 50 %"), Band(2, 100, True, "50 % and more"))
"""Of a region of the CT-SS, as the paper has it."""


def is_involved(lesion_ml: float) -> bool:
    """Whether a lobe or region holds more lesion than noise makes.

    Parameters
    ----------
    lesion_ml:
        Volume of GGO and consolidation in it, in mL.
    """
    return lesion_ml >= INVOLVEMENT_ML


def lobe_score(extent_percent: float, lesion_ml: float) -> int:
    """CT score of one lobe, 0 to 5.

    Parameters
    ----------
    extent_percent:
        Share of the lobe that is lesion, 0 to 100.
    lesion_ml:
        Volume of lesion in it, in mL.

    Raises
    ------
    ValueError
        If the share isn't one.
    """
    return _score(LOBE_BANDS, extent_percent, lesion_ml)


def region_score(extent_percent: float, lesion_ml: float) -> int:
    """CT-SS of one of the 20 regions, 0 to 2; parameters and errors as in :func:`lobe_score`."""
    return _score(REGION_BANDS, extent_percent, lesion_ml)


def ct_score(lobes: Iterable[tuple[float, float]]) -> int:
    """CT score of both lungs, 0 to 25: the sum over lobes, each (extent in %, lesion in mL).

    Raises
    ------
    ValueError
        If there are not five lobes: a sum over fewer would look like less disease.
    """
    scores = [lobe_score(extent, lesion) for extent, lesion in lobes]
    if len(scores) != CT_SCORE_LOBES:
        raise ValueError(f"the CT score needs five lobes, got {len(scores)}")
    return sum(scores)


def ct_ss(regions: Iterable[tuple[float, float]]) -> int:
    """CT-SS, 0 to 40: the sum over 20 regions, each (extent in %, lesion in mL).

    Raises
    ------
    ValueError
        If there are not twenty regions.
    """
    scores = [region_score(extent, lesion) for extent, lesion in regions]
    if len(scores) != CT_SS_REGIONS:
        raise ValueError(f"the CT-SS needs {CT_SS_REGIONS} regions, got {len(scores)}")
    return sum(scores)


def bands_in_words(bands: Iterable[Band]) -> str:
    """The table as one line of the report."""
    named = "; ".join(f"{band.score} {band.words}" for band in bands)
    return f"0 less than {INVOLVEMENT_ML:g} mL of lesion; {named}"


def _score(bands: Iterable[Band], extent_percent: float, lesion_ml: float) -> int:
    if not 0 <= extent_percent <= 100:
        raise ValueError(f"a share lies between 0 and 100 %, not at {extent_percent}")
    if not is_involved(lesion_ml):
        return 0
    return next(band.score for band in bands if band.holds(extent_percent))
