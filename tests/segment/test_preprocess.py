"""Crops and resolutions that a card may ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.preprocess import Crop, body_crop, input_shape, normalise


def test_the_body_is_found_beside_the_table() -> None:
    hu = np.full((3, 200, 300), -1000, dtype=np.int16)
    hu[:, 40:160, 50:250] = 30
    hu[:, 70:130, 90:140] = -870
    hu[:, 180:182, 20:280] = 200
    crop = body_crop(hu, (5.0, 1.0, 1.0), 0.0)
    assert (crop.top, crop.bottom, crop.left, crop.right) == (40, 160, 50, 250)
    assert body_crop(hu, (5.0, 1.0, 1.0), 5.0) == Crop(35, 165, 45, 255)


def test_without_a_body_the_whole_picture_is_taken() -> None:
    empty = np.full((2, 20, 30), -1000, dtype=np.int16)
    assert body_crop(empty, (5.0, 1.0, 1.0), 3.0) == Crop(0, 20, 0, 30)


def test_a_fixed_size_does_not_ask_for_the_spacing() -> None:
    fixed = Preprocessing(-212, 1624, rows=256, columns=256)
    assert input_shape((100, 300), (0.7, 0.9), fixed) == (256, 256)
    assert input_shape((100, 300), (0.7, 0.9), Preprocessing(-212, 1624, spacing_mm=1.4)) == (50, 193)


def test_without_a_value_for_outside_the_picture_stays_whole() -> None:
    hu = torch.tensor([[[-1024.0, -212.0, 600.0, 3000.0]]])
    lung = torch.zeros_like(hu, dtype=torch.bool)
    whole = Preprocessing(-212, 1624, rows=4, columns=4)
    assert normalise(hu, lung, whole)[0, 0].tolist() == pytest.approx([0, 0.5, 1, 1])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"crop": "head"}, "crop must be one of lungs, body"),
        ({"spacing_mm": 1.0}, "either spacing_mm or rows and columns"),
        ({"rows": None}, "either spacing_mm or rows and columns"),
        ({"columns": 0}, "must be positive"),
        ({"context_slices": -1}, "not negative"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], sentence: str) -> None:
    values: dict[str, object] = {"window_center_hu": 0, "window_width_hu": 1, "rows": 4, "columns": 4}
    with pytest.raises(ValueError, match=sentence):
        Preprocessing(**{**values, **changes})  # type: ignore[arg-type]
