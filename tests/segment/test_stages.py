"""Steps that are remembered by their input, and volumes that keep their place when slices come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicomnode.assemble.volume import SourceInstance, Volume
from dicomnode.phantom.build import build_phantom
from dicomnode.phantom.spec import PhantomSpec
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.segmentation import Segmentation
from dicomnode.segment.segmenter import Segmenter
from dicomnode.segment.stages import LungSlices, StageMemory, aligned, rounded
from tests.model_folder import density_network, make_model


def test_the_same_input_is_computed_once_and_any_other_again() -> None:
    memory, computed = StageMemory(4), []

    def recall(step: str, *inputs: object) -> int:
        return memory.recall(step, inputs, lambda: computed.append(step) or len(computed))

    hu = np.arange(8, dtype=np.int16)
    assert recall("a", hu, (1.0, 2.0)) == recall("a", hu.copy(), (1.0, 2.0)) == 1
    assert recall("b", hu, (1.0, 2.0)) == 2
    assert recall("a", hu, (1.0, 2.5)) == 3
    assert recall("a", hu.reshape(2, 4), (1.0, 2.0)) == 4
    assert recall("a", hu.astype(np.int32), (1.0, 2.0)) == 5
    assert recall("b", hu, (1.0, 2.0)) == 2  # of the last four
    assert recall("a", hu, (1.0, 2.0)) == 6
    assert memory.found == 2


def test_a_memory_without_room_keeps_nothing() -> None:
    memory = StageMemory()
    assert [memory.recall("a", (1,), object) is memory.recall("a", (1,), object)] == [False]


def test_slices_with_lung_are_cut_out_and_put_back() -> None:
    sides = np.zeros((9, 2, 2), np.uint8)
    sides[3:5, 0, 1] = 1
    slices = LungSlices.of(sides, 2)
    assert (slices.first, slices.stop) == (1, 7)
    assert np.array_equal(slices.in_volume(slices.of_volume(sides)), sides)
    assert LungSlices.of(np.zeros_like(sides), 2) == LungSlices(0, 9, 9)


@pytest.mark.parametrize("missing", range(5))
def test_blocks_hold_the_same_slices_however_many_are_missing_below(missing: int) -> None:
    hu = np.arange(12 * 4, dtype=np.int16).reshape(12, 2, 2)
    spacing = (1.25, 1.0, 1.0)
    whole, repeated = aligned(hu, spacing, -100.0)
    part, more = aligned(hu[missing:], spacing, -100.0 + 1.25 * missing)
    assert np.array_equal(whole[repeated:], hu)
    assert np.array_equal(part[more:], hu[missing:])
    assert (repeated + missing - more) % 2 == 0


def test_the_mean_step_of_a_few_more_slices_is_the_same_spacing() -> None:
    assert rounded((1.2500004, 0.703125, 0.7)) == rounded((1.2499997, 0.703125, 0.7))


@pytest.fixture(scope="module")
def volume() -> Volume:
    phantom = build_phantom(PhantomSpec(seed=5, matrix=(84, 80, 80), spacing_mm=(4.8, 4.5, 4.5)))
    count = len(phantom.hu)
    affine = np.diag([4.5, 4.5, 4.8, 1.0])
    affine[:3, 3] = (-180.0, -180.0, -211.0)
    instances = tuple(SourceInstance(f"1.2.{i}", "1.2", Path(f"{i}")) for i in range(count))
    return Volume(np.ascontiguousarray(phantom.hu), affine, instances, "1", "2", "3")


def part_of(volume: Volume, first: int, stop: int) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] = (affine @ (0, 0, first, 1))[:3]
    return Volume(volume.hu[first:stop], affine, volume.instances[first:stop], "1", "2", "3")


def arrays(segmentation: Segmentation) -> list[np.ndarray]:
    return [segmentation.labels, segmentation.sides, segmentation.lobes]


@pytest.mark.parametrize("from_feet", [True, False])
def test_what_was_found_before_the_last_slices_came_is_what_is_found_without(
    tmp_path: Path, volume: Volume, from_feet: bool
) -> None:
    model = LesionModel(make_model(tmp_path, density_network()))
    expected = Segmenter(model).segment(volume)
    lung = np.flatnonzero((expected.sides > 0).any(axis=(1, 2)))
    first, stop = int(lung[0]), int(lung[-1]) + 1
    assert first >= 8
    assert len(volume.hu) - stop >= 8
    segmenter = Segmenter(model)
    segmenter.memory.capacity = 4
    early = part_of(volume, 0, stop + 6) if from_feet else part_of(volume, first - 6, len(volume.hu))
    segmenter.segment(early)
    found = segmenter.segment(volume)
    assert segmenter.memory.found == 1  # the lesions; there is no lobe model
    for after, without in zip(arrays(found), arrays(expected), strict=True):
        assert np.array_equal(after, without)
