"""CT severity scores: 0 to 25 by lobe (Pan et al. 2020) and 0 to 40 by region (Yang et al. 2020).

The papers leave boundaries open (what 5 %, 25.5 % or 49.5 % score); they are decided once, here:

=====  ====================  ==========================================
score  share of the lobe     as printed in the papers
=====  ====================  ==========================================
0      not involved          none
1      below 5 %             below 5 %
2      5 to 25 %             5 to 25 %
3      above 25, below 50 %  26 to 49 %
4      50 to 75 %            50 to 75 %
5      above 75 %            above 75 %
=====  ====================  ==========================================

A region of the CT-SS scores 0 if not involved, 1 below 50 % and 2 from 50 % on.
"""

from __future__ import annotations

from collections.abc import Iterable

INVOLVEMENT_ML = 0.1
"""Lesions below this in a lobe or region are not distinguishable from noise: it doesn't count as involved.

A cube of 4.6 mm, about the smallest lesion that readers mark on slices of 1 to 5 mm.
"""

CT_SCORE_MAXIMUM = 25
CT_SS_MAXIMUM = 40
CT_SS_REGIONS = 20

CT_SS_SEVERE = 19.5
"""Above this, severe disease in Yang et al. (Radiol Cardiothorac Imaging 2020;2:e200047); literature only."""


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
    if not 0 <= extent_percent <= 100:
        raise ValueError(f"a share lies between 0 and 100 %, not at {extent_percent}")
    if not is_involved(lesion_ml):
        return 0
    if extent_percent < 5:
        return 1
    if extent_percent <= 25:
        return 2
    if extent_percent < 50:
        return 3
    return 4 if extent_percent <= 75 else 5


def region_score(extent_percent: float, lesion_ml: float) -> int:
    """CT-SS of one of the 20 regions, 0 to 2; parameters and errors as in :func:`lobe_score`."""
    if not 0 <= extent_percent <= 100:
        raise ValueError(f"a share lies between 0 and 100 %, not at {extent_percent}")
    if not is_involved(lesion_ml):
        return 0
    return 1 if extent_percent < 50 else 2


def ct_score(lobes: Iterable[tuple[float, float]]) -> int:
    """CT score of both lungs, 0 to 25: the sum over lobes, each (extent in %, lesion in mL).

    Raises
    ------
    ValueError
        If there are not five lobes: a sum over fewer would look like less disease.
    """
    scores = [lobe_score(extent, lesion) for extent, lesion in lobes]
    if len(scores) != 5:
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
