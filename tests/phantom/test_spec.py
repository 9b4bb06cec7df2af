"""Wrong specs can't be made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dicomnode.phantom import LesionSpec, PhantomError, PhantomSpec
from dicomnode.segment.segmentation import Lobe


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"matrix": (2, 96, 96)},
        {"matrix": (9999, 9999, 9999)},
        {"spacing_mm": (0.0, 1.0, 1.0)},
        {"spacing_mm": (float("nan"), 1.0, 1.0)},
        {"noise_hu": -1.0},
        {"noise_hu": float("nan")},
        {"kernel": "glassy"},
        {"ggo_hu": 0.0},
        {"consolidation_hu": -500.0},
        {"padding_hu": 0},
    ],
)
def test_wrong_phantom(wrong: dict[str, Any]) -> None:
    with pytest.raises(PhantomError):
        PhantomSpec(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "nodule"},
        {"volume_ml": 0.0},
        {"volume_ml": float("inf")},
        {"lobe": Lobe.NONE},
        {"lobe": 9},
        {"place": "somewhere"},
        {"centre_mm": (0.0, float("nan"), 0.0)},
    ],
)
def test_wrong_lesion(wrong: dict[str, Any]) -> None:
    with pytest.raises(PhantomError):
        LesionSpec(**{"kind": "ggo", "volume_ml": 10.0, "lobe": Lobe.LEFT_LOWER, **wrong})


def test_affine_takes_indices_to_the_axes() -> None:
    spec = PhantomSpec(matrix=(10, 20, 30), spacing_mm=(5.0, 4.0, 3.0))
    x, y, z = (spec.affine @ (7, 11, 4, 1))[:3]
    assert (x, y, z) == pytest.approx((spec.axis_mm(2)[7], spec.axis_mm(1)[11], spec.axis_mm(0)[4]))
    assert np.linalg.det(spec.affine[:3, :3]) / 1000 == pytest.approx(spec.voxel_ml)


def test_whole_lung_covers_the_lungs_for_any_matrix() -> None:
    spec = PhantomSpec.whole_lung((250, 512, 512))
    assert spec.spacing_mm[0] == pytest.approx(1.248)
    assert spec.spacing_mm[1] == pytest.approx(0.703125)
