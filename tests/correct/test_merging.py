"""What was edited and what was not become one consistent set of masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomnode.correct.merging import LOBES, edits_of, merge
from dicomnode.correct.recognition import SEGMENTS
from dicomnode.segment.segmentation import Label, Lobe, ModelIdentity, QualityFlag, Segmentation, Side
from tests.report.report_cases import thorax

CONSOLIDATION_HU = -300.0
SPACING_MM = (5.0, 2.0, 2.0)
GGO, DENSE = SEGMENTS["ggo"].mask, SEGMENTS["consolidation"].mask


def base() -> tuple[Segmentation, np.ndarray]:
    hu, labels, sides = thorax()
    lobes = np.zeros_like(labels)
    z = np.arange(labels.shape[0])[:, None, None]
    lobes[(sides == Side.RIGHT) & (z < 7)] = Lobe.RIGHT_LOWER
    lobes[(sides == Side.RIGHT) & (z >= 7)] = Lobe.RIGHT_MIDDLE
    lobes[(sides == Side.RIGHT) & (z >= 11)] = Lobe.RIGHT_UPPER
    lobes[(sides == Side.LEFT) & (z < 9)] = Lobe.LEFT_LOWER
    lobes[(sides == Side.LEFT) & (z >= 9)] = Lobe.LEFT_UPPER
    flags = (QualityFlag.LUNGS_UNCERTAIN, QualityFlag.LOBES_UNCERTAIN, QualityFlag.ONE_LUNG)
    return Segmentation(labels, sides, lobes, ModelIdentity("m", "1", "ab" * 32), flags), hu


def corrected(drawn: dict[str, np.ndarray], *, overlap: bool = True) -> tuple[Segmentation, Segmentation]:
    """Masks before and after a person has drawn ``drawn``."""
    before, hu = base()
    return before, merge(before, edits_of(before, drawn, overlap=overlap), hu, SPACING_MM, CONSOLIDATION_HU)


def box(*corner: int, size: int = 3) -> np.ndarray:
    mask = np.zeros(base()[0].labels.shape, np.bool_)
    mask[tuple(slice(start, start + size) for start in corner)] = True
    return mask


def same_but(after: Segmentation, before: Segmentation, **changed: np.ndarray) -> None:
    """All masks are those of before, except ``changed`` ones."""
    for key, segment in SEGMENTS.items():
        wanted = changed.get(key, segment.mask(before))
        assert np.array_equal(segment.mask(after), wanted), key


def test_masks_as_they_were_are_no_edit() -> None:
    before, _ = base()
    drawn = {key: segment.mask(before) for key, segment in SEGMENTS.items()}
    assert edits_of(before, drawn, overlap=True) == {}


def test_ggo_that_is_erased_is_lung_and_the_lesion_follows() -> None:
    before, after = corrected({"ggo": np.zeros_like(base()[0].lung), "lesion": base()[0].lesion})
    same_but(after, before, ggo=np.zeros_like(before.lung), lesion=DENSE(before))


def test_segments_that_are_not_in_the_file_stay() -> None:
    before, _ = base()
    wanted = GGO(before) & ~box(4, 18, 6, size=4)
    assert wanted.sum() < GGO(before).sum()
    before, after = corrected({"ggo": wanted})
    same_but(after, before, ggo=wanted, lesion=wanted | DENSE(before))


def test_what_is_drawn_into_the_lesion_alone_is_split_by_density() -> None:
    before, hu = base()
    added = box(15, 20, 10)
    hu[15, 20:23, 10:13] = -100
    edits = edits_of(before, {"lesion": before.lesion | added}, overlap=True)
    after = merge(before, edits, hu, SPACING_MM, CONSOLIDATION_HU)
    assert np.array_equal(DENSE(after) & ~DENSE(before), added & (hu >= CONSOLIDATION_HU))
    assert np.array_equal(GGO(after) & ~GGO(before), added & (hu < CONSOLIDATION_HU))


def test_what_is_taken_from_the_lesion_is_taken_from_its_parts() -> None:
    before, after = corrected({"lesion": np.zeros_like(base()[0].lung)})
    same_but(after, before, **dict.fromkeys(("lesion", "ggo", "consolidation"), np.zeros_like(before.lung)))


def test_voxels_moved_from_ggo_to_consolidation_stay_lesion() -> None:
    before, _ = base()
    moved = GGO(before) & box(5, 18, 8)
    assert moved.any()
    drawn = {"ggo": GGO(before) & ~moved, "consolidation": DENSE(before) | moved}
    before, after = corrected(drawn)
    same_but(after, before, **drawn)


def test_consolidation_drawn_outside_makes_the_lung_larger_there() -> None:
    before, _ = base()
    added = box(4, 22, 1)
    assert not (added & before.lung).any()
    before, after = corrected({"consolidation": DENSE(before) | added})
    assert np.array_equal(after.lung, before.lung | added)
    assert (after.sides[added] == Side.RIGHT).all()
    assert (after.lobes[added] == Lobe.RIGHT_LOWER).all()


def test_lung_that_is_erased_is_no_lesion_either() -> None:
    before, _ = base()
    gone = box(4, 18, 6, size=5)
    before, after = corrected({"lungs": before.lung & ~gone})
    assert not after.lung[gone].any()
    assert not after.lesion[gone].any()
    assert np.array_equal(after.lesion, before.lesion & ~gone)


def test_a_part_given_to_another_lobe_belongs_to_it() -> None:
    before, _ = base()
    given = box(9, 20, 8) & (before.lobes == Lobe.RIGHT_MIDDLE)
    assert given.any()
    middle = SEGMENTS["right_middle"].mask(before) & ~given
    upper = SEGMENTS["right_upper"].mask(before) | given
    before, after = corrected({"right_middle": middle, "right_upper": upper})
    same_but(after, before, right_middle=middle, right_upper=upper)


def test_a_part_taken_from_a_lobe_goes_to_the_lobe_next_to_it() -> None:
    before, _ = base()
    left_lower = SEGMENTS["left_lower"].mask(before)
    z = np.arange(left_lower.shape[0])[:, None, None]
    before, after = corrected({"left_lower": left_lower & (z < 8)})
    assert np.array_equal(
        after.lobes == Lobe.LEFT_UPPER, (before.lobes == Lobe.LEFT_UPPER) | (left_lower & (z == 8))
    )
    assert np.array_equal(after.lung, before.lung)


def test_a_program_without_overlap_took_nothing_from_the_lungs() -> None:
    """In a label map a voxel of GGO is no voxel of the lungs."""
    before, _ = base()
    ggo = GGO(before) & ~box(4, 18, 6, size=4)
    drawn = {"lungs": before.lung & ~ggo & ~DENSE(before), "ggo": ggo, "consolidation": DENSE(before)}
    before, after = corrected(drawn, overlap=False)
    same_but(after, before, ggo=ggo, lesion=ggo | DENSE(before))


def test_doubts_about_masks_that_a_person_changed_are_settled() -> None:
    before, after = corrected({"lungs": base()[0].lung & ~box(4, 18, 6)})
    assert after.flags == (QualityFlag.LOBES_UNCERTAIN, QualityFlag.ONE_LUNG)
    before, after = corrected({"left_lower": np.zeros_like(before.lung)})
    assert after.flags == (QualityFlag.LUNGS_UNCERTAIN, QualityFlag.ONE_LUNG)


def test_without_lobes_none_are_invented() -> None:
    before, hu = base()
    before = replace(before, lobes=np.zeros_like(before.lobes))
    edits = edits_of(before, {"lungs": before.lung | box(0, 20, 10)}, overlap=True)
    assert not merge(before, edits, hu, SPACING_MM, CONSOLIDATION_HU).has_lobes


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(SEGMENTS)), min_size=1, unique=True), st.integers(0, 2**32), st.booleans()
)
def test_whatever_is_drawn_the_masks_agree_and_every_lobe_lies_on_its_side(
    keys: list[str], seed: int, overlap: bool
) -> None:
    random = np.random.default_rng(seed)
    before, _ = base()
    drawn = {}
    for key in keys:
        mask = SEGMENTS[key].mask(before).copy()
        for value in (True, False):
            start = random.integers(0, np.array(mask.shape) - 6)
            mask[tuple(slice(a, a + random.integers(1, 7)) for a in start)] = value
        drawn[key] = mask
    before, after = corrected(drawn, overlap=overlap)
    for lobe in LOBES.values():
        assert (after.sides[after.lobes == lobe] == (1 if lobe <= Lobe.RIGHT_LOWER else 2)).all()
    assert (after.lobes[after.lung] > 0).all()
    assert ((after.labels == Label.BACKGROUND) == (after.sides == 0)).all()
    if "ggo" in drawn and not {"lungs", "right", "left", "consolidation", "effusion", "lesion"} & set(keys):
        assert (GGO(after) == drawn["ggo"]).all()


@pytest.mark.parametrize("key", sorted(SEGMENTS))
def test_every_segment_can_be_edited_alone(key: str) -> None:
    before, _ = base()
    before, after = corrected({key: SEGMENTS[key].mask(before) | box(5, 20, 10)})
    assert SEGMENTS[key].mask(after)[box(5, 20, 10)].all()
