"""Which segmentations are a correction of ours, and which are somebody else's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.correct.recognition import recognize
from tests.correct.viewer import LABELS, save
from tests.report.report_cases import MODEL, Case

MODELS = [MODEL.name]


@pytest.fixture
def ct(case: Case) -> list[Path]:
    return [instance.path for instance in case.volume.instances]


@pytest.fixture
def mask(case: Case) -> np.ndarray:
    return case.segmentation.lesion


def refused(path: Path, own: list[str] | None = None) -> str:
    with pytest.raises(SeriesRefusedError) as refusal:
        recognize([path], MODELS, own or [])
    assert refusal.value.reason is RefusalReason.FOREIGN_SEGMENTATION
    return refusal.value.detail


def test_a_viewer_that_lost_all_codes_is_recognised_by_labels(
    case: Case, ct: list[Path], mask: np.ndarray, tmp_path: Path
) -> None:
    path = save(ct, {LABELS["ggo"].upper(): mask, "Nodule": mask, LABELS["left_upper"]: mask}, tmp_path / "s")
    (edited,) = recognize([path], MODELS, [])
    assert dict(edited.keys) == {1: ("ggo",), 3: ("left_upper",)}
    assert edited.others == 1
    assert edited.source_series_uid == case.volume.series_instance_uid


def test_codes_alone_are_enough_where_the_algorithm_is_ours(case: Case, tmp_path: Path) -> None:
    case.build(tmp_path)
    seg = dcmread(tmp_path / "seg.dcm")
    for item in seg.SegmentSequence:
        item.SegmentLabel = f"{item.SegmentLabel} (edited)"
    seg.SOPInstanceUID = generate_uid()
    seg.save_as(tmp_path / "edited.dcm")
    (edited,) = recognize([tmp_path / "edited.dcm"], MODELS, [])
    assert list(edited.keys.values()) == [
        *(("lungs",), ("right",), ("left",), ("lesion",), ("ggo",), ("consolidation",))
    ]


def test_segments_of_another_program_are_foreign(ct: list[Path], mask: np.ndarray, tmp_path: Path) -> None:
    path = save(ct, {LABELS["lungs"]: mask}, tmp_path / "s", algorithm_type="AUTOMATIC")
    assert "none of its 1 segments" in refused(path)
    path = save(ct, {"lung_upper_lobe_left": mask, "Spleen": mask}, tmp_path / "t")
    assert "none of its 2 segments" in refused(path)


def test_a_result_of_another_node_is_no_persons_work(case: Case, tmp_path: Path) -> None:
    case.build(tmp_path)
    seg = tmp_path / "seg.dcm"
    assert "dicomnode made it" in refused(seg)
    assert recognize([seg], MODELS, [str(dcmread(seg).SOPInstanceUID)])


def test_labels_that_contradict_their_codes_are_not_guessed(case: Case, tmp_path: Path) -> None:
    case.build(tmp_path)
    seg = dcmread(tmp_path / "seg.dcm")
    by_label = {item.SegmentLabel: item for item in seg.SegmentSequence}
    ggo, dense = by_label[LABELS["ggo"]], by_label[LABELS["consolidation"]]
    ggo.SegmentLabel, dense.SegmentLabel = dense.SegmentLabel, ggo.SegmentLabel
    seg.SOPInstanceUID = generate_uid()
    seg.save_as(tmp_path / "swapped.dcm")
    (edited,) = recognize([tmp_path / "swapped.dcm"], MODELS, [])
    assert list(edited.keys.values()) == [("lungs",), ("right",), ("left",), ("lesion",)]
    assert edited.others == 2


def test_a_segment_that_is_there_twice_is_refused(ct: list[Path], mask: np.ndarray, tmp_path: Path) -> None:
    path = save(ct, {LABELS["ggo"]: mask, LABELS["ggo"].lower(): mask}, tmp_path / "s")
    assert "twice" in refused(path)


def test_what_is_no_dicom_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "junk"
    path.write_bytes(b"junk")
    assert "can't be read" in refused(path)


def test_segmentations_are_taken_in_the_order_in_which_they_were_made(
    ct: list[Path], mask: np.ndarray, tmp_path: Path
) -> None:
    late = save(ct, {LABELS["ggo"]: mask}, tmp_path / "a", ContentDate="20240302", ContentTime="080000")
    early = save(ct, {LABELS["ggo"]: mask}, tmp_path / "b", ContentDate="20240301", ContentTime="090000")
    assert [edited.path for edited in recognize([late, early], MODELS, [])] == [early, late]


def test_the_segments_of_our_label_map_are_recognised(
    ct: list[Path], mask: np.ndarray, tmp_path: Path
) -> None:
    labels = ["Right lung without opacity", "Left lung without opacity", "Consolidation, left lung"]
    masks = {label: np.roll(mask, number, axis=0) for number, label in enumerate(labels)}
    (edited,) = recognize([save(ct, masks, tmp_path / "s")], MODELS, [])
    assert dict(edited.keys) == {
        1: ("lungs", "right"),
        2: ("lungs", "left"),
        3: ("lungs", "left", "lesion", "consolidation"),
    }


def test_a_part_of_a_label_map_is_refused_not_taken_for_the_whole(
    ct: list[Path], mask: np.ndarray, tmp_path: Path
) -> None:
    path = save(ct, {"Ground glass opacity, right upper lobe": mask}, tmp_path / "s")
    assert "a label map must keep" in refused(path)


def test_a_segmentation_that_names_no_series_is_refused(
    ct: list[Path], mask: np.ndarray, tmp_path: Path
) -> None:
    path = save(ct, {LABELS["ggo"]: mask}, tmp_path / "s", ReferencedSeriesSequence=[])
    assert "names 0 source series" in refused(path)


def test_a_segment_without_a_number_is_passed_over(ct: list[Path], mask: np.ndarray, tmp_path: Path) -> None:
    path = save(ct, {LABELS["ggo"]: mask, LABELS["lungs"]: mask}, tmp_path / "s")
    seg = dcmread(path)
    del seg.SegmentSequence[0].SegmentNumber
    seg.save_as(path)
    (edited,) = recognize([path], MODELS, [])
    assert dict(edited.keys) == {2: ("lungs",)}
