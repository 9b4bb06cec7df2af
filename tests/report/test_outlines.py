"""Outlines of masks: closed, on the edges of pixels, and filling them gives the mask again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicomnode.report.outlines import outlines


def filled(polygons: list[list[tuple[int, int]]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Even-odd filling, at pixel centres."""
    inside = np.zeros(shape, np.bool_)
    for polygon in polygons:
        image = Image.new("1", (shape[1] * 4, shape[0] * 4), 0)
        ImageDraw.Draw(image).polygon([(4 * x - 0.5, 4 * y - 0.5) for x, y in polygon], fill=1)
        inside ^= np.asarray(image)[2::4, 2::4]
    return inside


def test_a_pixel_is_a_square() -> None:
    mask = np.zeros((4, 5), np.bool_)
    mask[1, 2] = True
    assert outlines(mask) == [[(2, 1), (3, 1), (3, 2), (2, 2), (2, 1)]]
    assert outlines(mask * False) == []


def test_a_rectangle_has_four_corners_whatever_its_size() -> None:
    mask = np.zeros((30, 40), np.bool_)
    mask[:20, 5:] = True
    assert outlines(mask) == [[(5, 0), (40, 0), (40, 20), (5, 20), (5, 0)]]


def test_pixels_that_touch_at_a_corner_are_apart() -> None:
    assert len(outlines(np.eye(5, dtype=np.bool_))) == 5


def test_a_hole_is_an_outline_of_its_own() -> None:
    mask = np.ones((5, 5), np.bool_)
    mask[2, 2] = False
    assert sorted(map(len, outlines(mask))) == [5, 5]


@pytest.mark.parametrize("seed", range(6))
def test_filling_gives_the_mask_again(seed: int) -> None:
    noise = np.random.default_rng(seed).random((24, 31))
    mask = noise > (0.3 + 0.08 * seed)
    polygons = outlines(mask)
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)
    for polygon in polygons:
        assert polygon[0] == polygon[-1]
        for (x0, y0), (x1, y1) in pairwise(polygon):
            assert (x0 == x1) != (y0 == y1), "every piece is straight and not empty"
