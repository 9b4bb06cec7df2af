"""What is refused: no lung, or lung cut by the scan's ends or by its field of view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.segment.coverage import refuse_truncated_ends
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.segmentation import QualityFlag
from tests.segment.real_ct import RealCT, read_cip, read_dicom


@pytest.fixture(scope="module")
def chest(data_dir: Path) -> RealCT:
    """Every second pixel of the RICORD patient: fast, and the same anatomy."""
    ct = read_dicom(data_dir / "ricord_covid_chest")
    z, y, x = ct.spacing_mm
    return RealCT(np.ascontiguousarray(ct.hu[:, ::2, ::2]), (z, 2 * y, 2 * x))


def refused(hu: NDArray[np.int16], spacing_mm: tuple[float, float, float]) -> SeriesRefusedError:
    with pytest.raises(SeriesRefusedError) as caught:
        find_lungs(np.ascontiguousarray(hu), spacing_mm)
    return caught.value


def test_head_has_no_lung(data_dir: Path) -> None:
    head = read_dicom(data_dir / "refuse" / "head_ct")
    assert refused(head.hu, head.spacing_mm).reason is RefusalReason.NO_LUNG


def test_abdomen_with_bowel_gas_has_no_lung(chest: RealCT) -> None:
    """Below the costophrenic recess the patient shows a stomach and a colon full of gas."""
    assert refused(chest.hu[:28], chest.spacing_mm).reason is RefusalReason.NO_LUNG


def test_neck_has_no_lung(chest: RealCT) -> None:
    assert refused(chest.hu[220:], chest.spacing_mm).reason is RefusalReason.NO_LUNG


@pytest.mark.parametrize("value", [-1000, -3024, 0, 40])
def test_constant_volume_has_no_lung(value: int) -> None:
    hu = np.full((20, 40, 40), value, np.int16)
    assert refused(hu, (5.0, 5.0, 5.0)).reason is RefusalReason.NO_LUNG


def test_water_phantom_has_no_lung() -> None:
    y, x = np.mgrid[:96, :96]
    hu = np.full((30, 96, 96), -1000, np.int16)
    hu[:, np.hypot(y - 48, x - 48) < 30] = 0
    hu += np.random.default_rng(1).normal(0, 40, hu.shape).astype(np.int16)
    assert refused(hu, (5.0, 3.5, 3.5)).reason is RefusalReason.NO_LUNG


@pytest.mark.parametrize(
    ("start", "stop", "word"),
    [(124, 248, "base"), (0, 124, "apex"), (100, 140, "base"), (55, 248, "base"), (0, 200, "apex")],
)
def test_lung_cut_by_an_end_is_refused(chest: RealCT, start: int, stop: int, word: str) -> None:
    refusal = refused(chest.hu[start:stop], chest.spacing_mm)
    assert refusal.reason is RefusalReason.TRUNCATED_LUNG
    assert word in refusal.detail


def test_a_few_missing_millimetres_are_flagged(chest: RealCT) -> None:
    assert QualityFlag.LUNG_EDGE_CUT in find_lungs(chest.hu[40:], chest.spacing_mm).flags


@pytest.mark.parametrize("margin", [45, 60, 75])
def test_lung_cut_by_the_field_of_view_is_refused(chest: RealCT, margin: int) -> None:
    cut = chest.hu[:, margin:-margin, margin:-margin]
    assert refused(cut, chest.spacing_mm).reason is RefusalReason.TRUNCATED_LUNG


@pytest.mark.parametrize("radius", [75, 90, 100])
def test_lung_cut_by_a_round_field_of_view_is_refused(chest: RealCT, radius: int) -> None:
    y, x = np.mgrid[:256, :256]
    hu = chest.hu.copy()
    hu[:, np.hypot(y - 128, x - 128) > radius] = -3024
    assert refused(hu, chest.spacing_mm).reason is RefusalReason.TRUNCATED_LUNG


def test_arms_and_skin_may_leave_the_field_of_view(chest: RealCT) -> None:
    assert find_lungs(np.ascontiguousarray(chest.hu[:, 22:-22, 22:-22]), chest.spacing_mm).flags == ()


@pytest.mark.parametrize("padding", [-3024, -2000, -1024])
def test_padding_value_does_not_matter(chest: RealCT, padding: int) -> None:
    hu = np.where(chest.hu == -3024, np.int16(padding), chest.hu)
    plain, padded = (find_lungs(h, chest.spacing_mm).sides > 0 for h in (chest.hu, hu))
    assert padded.sum() == pytest.approx(plain.sum(), rel=0.002)


def test_wall_pierced_by_the_edge_of_the_field_is_refused(data_dir: Path) -> None:
    """A left base that touched the padding once leaked out and was lost without a word."""
    ct = read_cip(data_dir)
    y, x = np.mgrid[:64, :64]
    hu = ct.hu.copy()
    hu[:, np.hypot(y - 31.5, x - 31.5) > 31.5] = -3024
    assert refused(hu, ct.spacing_mm).reason is RefusalReason.TRUNCATED_LUNG


def test_end_shares_decide() -> None:
    sides = np.ones((10, 20, 20), np.uint8)
    sides[0] = sides[-1] = 0
    spacing = (5.0, 5.0, 5.0)
    assert refuse_truncated_ends(sides, spacing) is False
    sides[0, 0] = 1
    assert refuse_truncated_ends(sides, spacing) is True
    sides[0, :4] = 1
    with pytest.raises(SeriesRefusedError, match="base is missing"):
        refuse_truncated_ends(sides, spacing)
