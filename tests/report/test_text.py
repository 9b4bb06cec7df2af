"""ASCII text and printed precision."""

from __future__ import annotations

import pytest

from dicomnode.report.text import ascii_text, printed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tilt of 12°", "tilt of 12 degrees"),
        ("gap of 5 ± 0.1 mm", "gap of 5 +/- 0.1 mm"),
        ("Größe\tmal\nzwei", "Groe mal zwei".replace("Groe", "Gro?e")),
        ("a\\b~c", "a/b-c"),
        ("山田", "??"),
    ],
)
def test_text_is_valid_in_every_character_set(text: str, expected: str) -> None:
    assert ascii_text(text) == expected


def test_text_is_cut_to_its_limit() -> None:
    assert ascii_text("x" * 70, 64) == "x" * 64


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("lesion_volume_ml", 12.345678, 12.346),
        ("ggo_extent_percent", 1 / 3, 0.333),
        ("lesion_weight_g", 0.0004, 0.0),
        ("mean_hu", -713.158, -713.16),
        ("mean_hu", -0.001, 0.0),
        ("histogram_iou", 0.1234567, 0.12346),
    ],
)
def test_numbers_are_rounded_by_their_unit(name: str, value: float, expected: float) -> None:
    assert printed(name, value) == expected
    assert not str(printed(name, value)).startswith("-0.0")
