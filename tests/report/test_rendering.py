"""The lungs in space: what lies where, in which colour, and the same picture every time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from dicomnode.report.lobe_map import draw_lobes, extent_colour
from dicomnode.report.lung_grid import LungGrid
from dicomnode.report.rendering import MARKS, View, density_colours, render_lungs
from dicomnode.segment.segmentation import Side

SHAPE = (60, 50, 70)


def grid(lesion_at: tuple[slice, slice, slice] | None = None, density: int = 200) -> LungGrid:
    """Two boxes of lung, the right one at low columns; the lesion where it is asked for."""
    lung, lesion, dense, parts, sides = (np.zeros(SHAPE, np.uint8) for _ in range(5))
    for side, columns in ((1, slice(5, 30)), (2, slice(40, 65))):
        lung[5:55, 5:45, columns] = 255
        sides[5:55, 5:45, columns] = side
    parts[sides == 1], parts[sides == 2] = 1, 4
    parts[5:25][sides[5:25] == 1] = 3
    if lesion_at is not None:
        lesion[lesion_at], dense[lesion_at] = 255, density
    return LungGrid(lung, lesion, np.zeros(SHAPE, np.uint8), dense, parts, sides, (1.0, 1.0, 1.0))


def warm(view: View, lesion_at: tuple[slice, slice, slice] | None, density: int = 200) -> NDArray[np.bool_]:
    picture = np.asarray(render_lungs(grid(lesion_at, density), view, 1.0)).astype(int)
    return picture[..., 0] - picture[..., 2] > 60


def centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


RIGHT_FRONT_BASE = (slice(8, 18), slice(8, 18), slice(8, 18))


@pytest.mark.parametrize(
    ("view", "column"),
    [("front", 12.5), ("left", 12.5), ("right", SHAPE[1] - 12.5)],
)
def test_a_lesion_is_where_it_belongs(view: View, column: float) -> None:
    """In the right lung, at its front and base: low in every view, at the patient's right and front."""
    row, across = centre(warm(view, RIGHT_FRONT_BASE))
    assert row == pytest.approx(SHAPE[0] - 12.5, abs=2)
    assert across == pytest.approx(column, abs=2)
    left_mark, right_mark, _ = MARKS[view]
    is_at_left = across < (SHAPE[2] if view == "front" else SHAPE[1]) / 2
    assert (left_mark if is_at_left else right_mark) in ("R", "A")


def test_without_a_lesion_nothing_is_warm() -> None:
    for view in MARKS:
        assert not warm(view, None).any()


def test_the_colour_tells_the_density() -> None:
    thin, dense = (
        np.asarray(render_lungs(grid(RIGHT_FRONT_BASE, density), "front", 1.0))[SHAPE[0] - 13, 13].astype(int)
        for density in (70, 220)
    )
    assert thin[1] > dense[1] + 60, "ground glass is yellow, consolidation red"
    assert len({tuple(rgb) for rgb in density_colours()}) > 200


def test_the_same_grid_gives_the_same_picture_soon() -> None:
    began = time.process_time()
    first, second = (render_lungs(grid(RIGHT_FRONT_BASE), "front", 2.0) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.size == (2 * SHAPE[2], 2 * SHAPE[0])
    assert time.process_time() - began < 2


def test_each_lobe_has_its_colour_and_room_for_its_name() -> None:
    colours = {1: (200, 40, 40), 3: (40, 200, 40), 4: (40, 40, 200)}
    right = draw_lobes(grid(), Side.RIGHT, "right", colours, (200, 240))
    left = draw_lobes(grid(), Side.LEFT, "left", colours, (200, 240))
    assert right is not None and left is not None
    assert set(right.places) == {1, 3} and set(left.places) == {4}
    assert right.image.width <= 200 and right.image.height <= 240
    for lung in (right, left):
        picture = np.asarray(lung.image)
        for number, (column, row, room) in lung.places.items():
            assert room > 20
            assert np.argmax(picture[int(row), int(column)]) == np.argmax(colours[number])
    assert right.places[1][1] < right.places[3][1], "the upper lobe is above the lower"


def test_a_lung_that_is_not_there_is_not_drawn() -> None:
    one = grid()
    one.sides[one.sides == Side.LEFT] = 0
    assert draw_lobes(one, Side.LEFT, "left", {4: (1, 2, 3)}, (200, 240)) is None


def test_more_involvement_is_redder() -> None:
    shares = [extent_colour(percent) for percent in (0, 5, 25, 50, 75, 100)]
    balance = [red - blue for red, _, blue in shares]
    assert balance[0] < 0 < balance[1] < balance[3]
    greens = [green for _, green, _ in shares[1:]]
    assert greens == sorted(greens, reverse=True) and shares[4] == shares[5]
