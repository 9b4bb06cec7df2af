"""A chest of boxes whose every measure is worked out by hand, and how to measure it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.measure import measure_segmentation
from dicomnode.measure.measurements import Measurements
from dicomnode.measure.quality import assess_quality
from dicomnode.segment.anatomy import find_anatomy
from dicomnode.segment.segmentation import Label, Lobe, ModelIdentity, Segmentation, Side

SHAPE = (40, 30, 40)
SPACING_MM = 5.0
VOXEL_ML = 0.125
NORMAL_HU, GGO_HU, CONSOLIDATION_HU, AROUND_HU = -850, -500, 20, 40
MODEL = ModelIdentity("test", "1", "0" * 64)

RIGHT = np.s_[2:38, 3:27, 2:17]
LEFT = np.s_[2:38, 3:27, 22:37]
LUNG_VOXELS = 36 * 24 * 15
LOBE_BOXES = {
    Lobe.RIGHT_LOWER: np.s_[2:14, 3:27, 2:17],
    Lobe.RIGHT_MIDDLE: np.s_[14:20, 3:27, 2:17],
    Lobe.RIGHT_UPPER: np.s_[20:38, 3:27, 2:17],
    Lobe.LEFT_LOWER: np.s_[2:20, 3:27, 22:37],
    Lobe.LEFT_UPPER: np.s_[20:38, 3:27, 22:37],
}
LOBE_VOXELS = {
    Lobe.RIGHT_LOWER: 12 * 24 * 15,
    Lobe.RIGHT_MIDDLE: 6 * 24 * 15,
    Lobe.RIGHT_UPPER: 18 * 24 * 15,
    Lobe.LEFT_LOWER: 18 * 24 * 15,
    Lobe.LEFT_UPPER: 18 * 24 * 15,
}


@dataclass(frozen=True, eq=False)
class Chest:
    """HU, maps and affine of a chest; axes from feet to head, front to back, the patient's right to left."""

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    sides: NDArray[np.uint8]
    lobes: NDArray[np.uint8]
    affine: NDArray[np.float64]

    def with_lesion(self, box: object, label: Label = Label.GROUND_GLASS, hu: int | None = None) -> Chest:
        """The chest with a lesion more, where there is lung in the box."""
        here = np.zeros(self.labels.shape, np.bool_)
        here[box] = True  # type: ignore[index]
        here &= self.labels > 0
        value = hu if hu is not None else GGO_HU if label is Label.GROUND_GLASS else CONSOLIDATION_HU
        return Chest(
            np.where(here, np.int16(value), self.hu),
            np.where(here, np.uint8(label), self.labels),
            self.sides,
            self.lobes,
            self.affine,
        )

    def stored(self, axes: tuple[int, ...], flips: tuple[int, ...]) -> Chest:
        """The same patient with array axes transposed, then reversed; voxels keep their place in mm."""
        affine = self.affine[:, [*(2 - axis for axis in axes[::-1]), 3]]
        shape = np.array(self.labels.shape)[list(axes)]
        turned = []
        for array in (self.hu, self.labels, self.sides, self.lobes):
            turned.append(np.ascontiguousarray(np.flip(array.transpose(axes), flips)))
        for axis in flips:
            affine = affine.copy()
            affine[:3, 3] += affine[:3, 2 - axis] * (shape[axis] - 1)
            affine[:3, 2 - axis] *= -1
        return Chest(*turned, affine)

    def segmentation(self) -> Segmentation:
        """The maps as a model gives them."""
        return Segmentation(self.labels, self.sides, self.lobes, MODEL)

    def measured(self, flags: tuple[str, ...] = ()) -> Measurements:
        """All measures of the chest."""
        return measure_chest(self, self.segmentation(), flags)


def measure_chest(chest: Chest, segmentation: Segmentation, flags: tuple[str, ...] = ()) -> Measurements:
    """All measures of a chest with these masks."""
    spacing = np.linalg.norm(chest.affine[:3, :3], axis=0)
    quality = assess_quality(
        slice_thickness_mm=None,
        slice_spacing_mm=float(spacing[2]),
        slices=chest.hu.shape[0],
        kernel=None,
        contrast=None,
        further_flags=flags,
    )
    voxel_ml = float(np.prod(spacing)) / 1000
    return measure_segmentation(
        chest.hu, segmentation, find_anatomy(segmentation, chest.affine), voxel_ml, quality
    )


def healthy(with_lobes: bool = True) -> Chest:
    """Two box lungs of 1620 mL without a lesion."""
    labels, sides, lobes = (np.zeros(SHAPE, np.uint8) for _ in range(3))
    for box, side in ((RIGHT, Side.RIGHT), (LEFT, Side.LEFT)):
        labels[box], sides[box] = Label.NORMAL_LUNG, side
    if with_lobes:
        for lobe, box in LOBE_BOXES.items():
            lobes[box] = lobe
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = -100.0, -75.0, 1000.0
    hu = np.where(labels > 0, np.int16(NORMAL_HU), np.int16(AROUND_HU))
    return Chest(hu, labels, sides, lobes, affine)
