"""The overview picture and the planes on it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicomnode.pipeline import measure_volume
from dicomnode.report.canvas import Page
from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.overview import write_overview
from dicomnode.report.overview_layout import EDGE, HEIGHT, WIDTH
from dicomnode.report.planes import PatientView, crop_to, draw_plane
from dicomnode.report.quality_text import FLAG_SENTENCES
from dicomnode.segment.segmentation import ModelIdentity, QualityFlag
from tests.report.report_cases import SHAPE, Case, axial_affine, make_case, thorax, write_ct


def write(case: Case, path: Path) -> np.ndarray:
    write_overview(case.volume, case.segmentation, case.measurements, path)
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.size == (WIDTH, HEIGHT)
        return np.asarray(picture.convert("RGB")).astype(int)


def reddish(picture: np.ndarray) -> int:
    return int(((picture[..., 0] > 150) & (picture[..., 0] - picture[..., 2] > 60)).sum())


def test_lesions_are_coloured_and_their_absence_is_not(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(tmp_path / "ct", hu, axial_affine())
    ill = write(make_case(volume, labels, sides), tmp_path / "ill.png")
    healthy = write(make_case(volume, (labels > 0).astype(np.uint8), sides), tmp_path / "healthy.png")
    tiles = np.s_[130:500]
    assert reddish(ill[tiles]) > 2000
    assert reddish(healthy[tiles]) == 0


def test_the_same_case_gives_the_same_picture(case: Case, tmp_path: Path) -> None:
    write(case, tmp_path / "a.png")
    write(case, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("signs", [(1, 1, -1), (-1, -1, 1)])
def test_every_orientation_is_shown_the_same_way(signs: tuple[int, int, int], tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    affine = axial_affine()
    flips = tuple(2 - axis for axis, sign in enumerate(signs) if sign < 0)
    turned = affine.copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            turned[:3, 3] += affine[:3, axis] * (SHAPE[2 - axis] - 1)
            turned[:3, axis] *= -1
    straight = make_case(write_ct(tmp_path / "a", hu, affine), labels, sides)
    flipped = make_case(
        write_ct(tmp_path / "b", np.flip(hu, flips).copy(), turned),
        np.flip(labels, flips).copy(),
        np.flip(sides, flips).copy(),
    )
    np.testing.assert_array_equal(write(straight, tmp_path / "a.png"), write(flipped, tmp_path / "b.png"))


def test_the_patient_s_right_is_at_the_left_edge(case: Case) -> None:
    view = PatientView(case.volume, case.segmentation)
    plane = view.axial(view.key_slices(1)[0])
    assert plane.marks == ("R", "L", "A")
    columns = np.nonzero((plane.labels == 2).any(axis=0))[0]
    assert columns.max() < plane.labels.shape[1] / 2


def test_key_slices_show_the_most_lesion_and_lie_apart(case: Case) -> None:
    view = PatientView(case.volume, case.segmentation)
    slices = view.key_slices(4)
    area = np.isin(case.segmentation.labels, (2, 3)).sum(axis=(1, 2))
    assert len(slices) == 4 and slices == sorted(slices, reverse=True)
    assert area[slices].max() == area.max()
    assert np.min(-np.diff(slices)) >= 2


def test_positions_are_those_of_the_patient(case: Case) -> None:
    view = PatientView(case.volume, case.segmentation)
    assert view.axial(7).position_mm == pytest.approx((axial_affine() @ (0, 0, 7, 1))[2])


def test_a_plane_keeps_its_proportions(case: Case) -> None:
    view = PatientView(case.volume, case.segmentation)
    plane = view.axial(10)
    crop = crop_to((0, SHAPE[1]), (0, SHAPE[2]), plane.spacing_mm, (400, 300))
    lung = np.asarray(draw_plane(plane, crop, (400, 300)).convert("L")) < 60
    rows, columns = (np.ptp(axis) for axis in np.nonzero(lung[40:-40, 40:-40]))
    labels = np.nonzero(plane.labels)
    millimetres = [np.ptp(axis) * mm for axis, mm in zip(labels, plane.spacing_mm, strict=True)]
    assert rows / columns == pytest.approx(millimetres[0] / millimetres[1], rel=0.08)


def page_of(case: Case, folder: Path, **options: bool) -> Page:
    return write_overview(
        case.volume, case.segmentation, case.measurements, folder / "overview.png", **options
    )


def assert_readable(page: Page) -> None:
    """All text is on the page, and none of it covers another."""
    boxes = [
        (word.left, word.baseline - 0.7 * word.size, word.left + word.width, word.baseline + 0.05 * word.size)
        for word in page.words
    ]
    width, height = page.image.size
    for word, (left, top, right, bottom) in zip(page.words, boxes, strict=True):
        assert left >= EDGE - 1 and right <= width - EDGE + 1, word
        assert top >= 8 and bottom <= height - 8, word
    for (one, a), (other, b) in combinations(zip(page.words, boxes, strict=True), 2):
        is_apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert is_apart, f"{one.content!r} covers {other.content!r}"


def changed(case: Case, what: str) -> Case:
    """The case in another plight."""
    masks = case.segmentation
    model = ModelIdentity("a_model_with_a_name_that_never_ends_" * 3, "2026.11.21-rc1+build.12345", "ab" * 32)
    keep = masks.sides == 2
    height = np.indices(masks.labels.shape)[0] / len(masks.labels)
    right_lobes = np.where(masks.sides == 1, 3 - (3 * height).astype(int), 0)
    lobes = np.where(masks.sides == 2, 5 - (2 * height).astype(int), right_lobes)
    segmentation = {
        "no lesion": replace(masks, labels=(masks.labels > 0).astype(np.uint8)),
        "one lung": replace(masks, labels=masks.labels * keep, sides=masks.sides * keep),
        "lobes": replace(masks, lobes=lobes.astype(np.uint8)),
    }.get(what, replace(masks, model=model))
    measurements = measure_volume(case.volume, segmentation)
    if what == "every flag":
        quality = replace(measurements.quality, flags=tuple(FLAG_SENTENCES), kernel="a long name " * 9)
        measurements = replace(measurements, quality=quality)
    return replace(case, segmentation=segmentation, measurements=measurements)


@pytest.mark.parametrize("what", ["long name", "every flag", "no lesion", "one lung", "lobes"])
def test_every_word_can_be_read(case: Case, tmp_path: Path, what: str) -> None:
    if what == "lobes":  # with room for their names
        hu, labels, sides = thorax((60, *SHAPE[1:]))
        case = make_case(write_ct(tmp_path / "tall", hu, axial_affine()), labels, sides)
    page = page_of(changed(case, what), tmp_path, is_corrected=what == "long name")
    assert_readable(page)
    said = " ".join(word.content for word in page.words)
    assert RESEARCH_USE in said
    if what == "every flag":
        shown = sum(sentence[:20] in said for sentence in FLAG_SENTENCES.values())
        assert shown >= 4 and f"And {len(FLAG_SENTENCES) - shown} more quality flags" in said
    if what == "lobes":
        assert "RUL" in said and "LLL" in said


@pytest.mark.parametrize("name", ["cip", "ricord"])
def test_every_word_on_a_patient_can_be_read(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    assert_readable(page_of(request.getfixturevalue(name), tmp_path))


def test_thin_volumes_and_flags_fit(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(tmp_path / "ct", hu[8:11].copy(), axial_affine())
    flags = (QualityFlag.LUNGS_UNCERTAIN, QualityFlag.SIDES_TOUCH, QualityFlag.ONE_LUNG)
    thin = make_case(volume, labels[8:11].copy(), sides[8:11].copy(), flags=flags)
    page = page_of(thin, tmp_path)
    said = " ".join(word.content for word in page.words)
    assert "check them before using" in said and "Only one lung was found." in said
    assert_readable(page)
