"""Array axes against the patient's axes."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from dicomnode.assemble.orientation import AxisOrder


def positions(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """LPS of every voxel, shape (z, y, x, 3)."""
    z, y, x = np.indices(shape)
    return (affine @ np.stack([x, y, z, np.ones(shape)]).reshape(4, -1))[:3].T.reshape(*shape, 3)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_turned_array_runs_to_the_head_the_back_and_the_left(order: tuple[int, int, int]) -> None:
    for signs in product((-1, 1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[:, order] * np.array(signs) * (1.0, 2.0, 3.0)
        axes = AxisOrder.from_affine(affine)
        lps = positions(affine, (2, 3, 4))
        turned = np.stack([axes.to_patient(lps[..., i]) for i in range(3)], axis=-1)
        assert (np.diff(turned[..., 2], axis=0) > 0).all()
        assert (np.diff(turned[..., 1], axis=1) > 0).all()
        assert (np.diff(turned[..., 0], axis=2) > 0).all()
        assert np.array_equal(axes.from_patient(turned[..., 0]), lps[..., 0])


def test_spacing_follows_its_axis() -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])[:, [1, 0, 2, 3]]  # rows run to the back, columns to the left
    assert AxisOrder.from_affine(affine).patient_spacing((3.0, 1.0, 2.0)) == (3.0, 2.0, 1.0)


@pytest.mark.parametrize("degrees", [0, 10, 30, 44, 45, 46, 80])
def test_slices_turned_in_their_plane_by_any_angle_have_an_axis_order(degrees: float) -> None:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:2, :2] = [[cosine, -sine], [sine, cosine]]
    axes = AxisOrder.from_affine(affine)
    assert axes.axes[0] == 0
    if degrees != 45:
        assert (axes.axes == (0, 1, 2)) == (degrees < 45)
