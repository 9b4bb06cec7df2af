"""The overlay's pixels: the slice itself, the masks over it, the legend in its corner."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicomnode.report.overlay import OverlayPainter
from dicomnode.report.planes import LABEL_RGB, LUNG_RGB
from dicomnode.segment.segmentation import Label

LESIONS = (Label.GROUND_GLASS, Label.CONSOLIDATION)


@pytest.fixture
def scene() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A lung of 60 x 60 with two lesions, one at its edge, in soft tissue."""
    hu, labels = np.full((100, 100), 40, np.int16), np.zeros((100, 100), np.uint8)
    hu[20:80, 20:80], labels[20:80, 20:80] = -850, 1
    hu[30:40, 30:40], labels[30:40, 30:40] = -500, 2
    hu[50:60, 70:80], labels[50:60, 70:80] = -50, 3
    return hu, labels


def test_where_nothing_is_marked_it_is_the_slice_in_the_lung_window(
    scene: tuple[NDArray[np.int16], NDArray[np.uint8]],
) -> None:
    hu, _ = scene
    for value, gray in ((-1024, 55), (-600, 128), (150, 255), (3000, 255), (-1350, 0)):
        hu[0, 0] = value
        picture = OverlayPainter(*hu.shape, LESIONS).paint(hu, np.zeros(hu.shape, np.uint8))
        assert picture[0, 0].tolist() == [gray] * 3


def test_lesions_are_tinted_and_outlined_and_the_lung_is_outlined_only(
    scene: tuple[NDArray[np.int16], NDArray[np.uint8]],
) -> None:
    hu, labels = scene
    plain, picture = (OverlayPainter(*hu.shape, LESIONS).paint(hu, one) for one in (labels * 0, labels))
    changed = (plain != picture).any(axis=2)
    inner_lung = (labels == 1) & changed
    inner_lung[[20, 79], :] = inner_lung[:, [20, 79]] = False
    assert not inner_lung.any(), "lung beside a lesion or inside is as it was"
    assert changed[20, 20:80].all() and not changed[labels == 0].any()
    for label, (row, column), rgb in ((2, (35, 35), (30, 30)), (3, (55, 75), (50, 70))):
        middle, rim = picture[row, column].astype(int), picture[rgb].astype(int)
        target = np.array(LABEL_RGB[Label(label)])
        assert np.abs(rim - target).max() < 12
        assert 0 < np.abs(middle - target).sum() < np.abs(plain[row, column].astype(int) - target).sum()
    assert np.abs(picture[20, 50].astype(int) - LUNG_RGB).max() < 60


def test_the_legend_names_what_can_be_seen_and_leaves_small_slices_alone() -> None:
    hu, labels = np.full((512, 512), -1024, np.int16), np.zeros((512, 512), np.uint8)
    shown = OverlayPainter(512, 512, LESIONS).paint(hu, labels)
    more = OverlayPainter(512, 512, (*LESIONS, Label.EFFUSION)).paint(hu, labels)
    legend = (shown != shown[0, 0]).any(axis=2)
    assert not legend[:470].any() and not legend[:, 400:].any()
    for label, picture in ((Label.CONSOLIDATION, shown), (Label.EFFUSION, more)):
        assert (picture == LABEL_RGB[label]).all(axis=2).any()
    assert not (shown == LABEL_RGB[Label.EFFUSION]).all(axis=2).any()
    small = OverlayPainter(64, 64, LESIONS).paint(hu[:64, :64], labels[:64, :64])
    assert (small == small[0, 0]).all()
