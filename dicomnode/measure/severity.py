"""CT severity scores: 0 to 25 by lobe (Pan et al. 2020) and 0 to 40 by region (Yang et al. 2020).

The papers leave boundaries open (what 5 %, 25.5 %, 49.5 %, 50 % or 75 % score). They are decided once, in
:data:`LOBE_BANDS` and :data:`REGION_BANDS`; the report states them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INVOLVEMENT_ML = 1.0
INVOLVEMENT_PERCENT = 0.5
"""A lobe or region counts as involved from both of these on: less lesion is not distinguishable from noise.

The default model marks so little in lungs without disease: on phantoms of slices up to 2.6 mm no lobe and at
most one region of 20 reaches both (at 0.1 mL four lobes and six regions did). See
``python -m benchmarks.involvement``, which also counts what is missed.
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


def is_involved(extent_percent: float, lesion_ml: float) -> bool:
    """Whether a lobe or region holds more lesion than noise makes.

    Parameters
    ----------
    extent_percent:
        Share of it that is GGO or consolidation.
    lesion_ml:
        Their volume in it, in mL.
    """
    return lesion_ml >= INVOLVEMENT_ML and extent_percent >= INVOLVEMENT_PERCENT


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


def score_many(
    bands: Sequence[Band], extent_percent: NDArray[np.float64], lesion_ml: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Scores of many parts at once, each as :func:`lobe_score` or :func:`region_score` gives it.

    Parameters
    ----------
    bands:
        :data:`LOBE_BANDS` or :data:`REGION_BANDS`.
    extent_percent, lesion_ml:
        Arrays of one shape.
    """
    scores = np.zeros(extent_percent.shape, np.int64)
    for band in reversed(bands):
        below = extent_percent <= band.to_percent if band.inclusive else extent_percent < band.to_percent
        scores[below] = band.score
    involved = (lesion_ml >= INVOLVEMENT_ML) & (extent_percent >= INVOLVEMENT_PERCENT)
    return np.where(involved, scores, 0)


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
    return f"0 less than {INVOLVEMENT_ML:g} mL or {INVOLVEMENT_PERCENT:g} % of lesion; {named}"


def _score(bands: Iterable[Band], extent_percent: float, lesion_ml: float) -> int:
    if not 0 <= extent_percent <= 100:
        raise ValueError(f"a share lies between 0 and 100 %, not at {extent_percent}")
    if not is_involved(extent_percent, lesion_ml):
        return 0
    return next(band.score for band in bands if band.holds(extent_percent))
