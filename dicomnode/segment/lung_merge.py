"""What the lung network adds to the classical lungs, and where the two disagree.

The network says what belongs to a lung, airless parts included, but its grid is coarse; thresholds draw the
border of aerated lung sharply, but can't tell airless lung from the wall or the liver. So aerated lung is
always taken from the thresholds, airless lung from the network:

1. What the network calls lung, is outside the aerated lungs and no bone, gas of the bowel or airway, is
   airless lung where it is thicker than a border's uncertainty.
2. Airless lung that the thresholds' method put back stays.

An answer without most of the aerated lungs in it is broken, one that adds much to the lungs is more likely to
show a raised diaphragm than a consolidation: neither is used, and a reader is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.segment.consolidation import BONE_HU
from dicomnode.segment.lung_card import LungRules
from dicomnode.segment.morphology import Mask, Spacing, dilate, open_

THINNEST_MM = 4.0
"""Half the thickness from which airless lung is more than a border's uncertainty."""

REACH_MM = 4.0
"""So far from its thick parts the thin rim of airless lung is followed."""

BORDER_MM = 4.0
"""Two lungs that differ by layers thinner than twice this agree."""


@dataclass(frozen=True, eq=False)
class NetworkView:
    """What the network's answer means beside the classical lungs.

    ``airless`` are voxels of the lungs without air; ``disagreement`` is the volume where the two methods
    differ as a share of that which either calls lung; an answer that isn't ``usable`` is to be left alone.
    """

    airless: Mask
    disagreement: float
    usable: bool


def compare(
    probability: NDArray[np.float32],
    classical: Mask,
    aerated: Mask,
    no_lung: Mask,
    hu: NDArray[np.float32],
    spacing_mm: Spacing,
    rules: LungRules,
) -> NetworkView:
    """Weigh the network's answer against the classical lungs.

    Parameters
    ----------
    probability:
        The network's answer on the coarse grid (superior, posterior, left).
    classical, aerated:
        Lungs that thresholds and morphology found, and their part with air, vessels closed over.
    no_lung:
        Gas of the bowel and wide airways.
    hu, spacing_mm:
        The same grid in HU, and its spacing.
    rules:
        Those of the network's card.
    """
    lung = (probability >= rules.probability) & ~no_lung
    known = int(np.count_nonzero(aerated))
    outside = lung & ~aerated & (hu < BONE_HU)
    thick = dilate(open_(outside, THINNEST_MM, spacing_mm), REACH_MM, spacing_mm) & outside
    usable = (
        int(np.count_nonzero(lung & aerated)) >= rules.smallest_share * known
        and int(np.count_nonzero(thick & ~classical)) <= rules.largest_addition * known
    )
    different = open_(lung ^ classical, BORDER_MM, spacing_mm)
    either = max(1, int(np.count_nonzero(lung | classical)))
    airless = thick | (classical & ~aerated)
    return NetworkView(airless, int(np.count_nonzero(different)) / either, usable)
