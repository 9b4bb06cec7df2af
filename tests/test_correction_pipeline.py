"""A correction without the node around it: lost masks, masks kept for training, masks of nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicomnode.analysis import MEASUREMENTS_FILE
from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.refusal import RefusalReason
from dicomnode.correct.job import CorrectionJob, DrawnOn
from dicomnode.correction_pipeline import correct_series, recognize_series
from dicomnode.demo.read_back import segment_masks
from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.pipeline import analyze_series
from dicomnode.report.result_set import FurtherResults
from dicomnode.segment.segmentation import Lobe
from dicomnode.segment.segmenter import Segmenter
from dicomnode.train.volumes import load_volumes
from tests.correct.viewer import LABELS, save

GGO = ("112120", "")
CONFIG = "0" * 64


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load("best", "cpu")


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    lesions = (LesionSpec(LesionKind.GGO, 60.0, Lobe.RIGHT_LOWER),)
    phantom = build_phantom(PhantomSpec.whole_lung((62, 128, 128), seed=7, lesions=lesions))
    return write_series(phantom, tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def measured(segmenter: Segmenter, ct: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measured")
    assert analyze_series(ct, segmenter, out, config_sha256=CONFIG).refusal is None
    return out


@pytest.fixture(scope="module")
def edited(ct: list[Path], measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGO without its lower half."""
    ggo = segment_masks(dcmread(measured / "seg.dcm"), assemble_series(ct))[GGO]
    kept = ggo & (np.arange(len(ggo)) > np.median(np.argwhere(ggo)[:, 0]))[:, None, None]
    assert 0 < kept.sum() < ggo.sum()
    return save(ct, {LABELS["ggo"]: kept}, tmp_path_factory.mktemp("edited") / "seg.dcm")


def test_it_is_recognised_with_the_series_that_it_was_drawn_on(ct: list[Path], edited: Path) -> None:
    header = dcmread(ct[0], stop_before_pixels=True)
    assert recognize_series([edited], []) == DrawnOn(header.StudyInstanceUID, header.SeriesInstanceUID)


def test_where_the_masks_before_are_gone_the_model_finds_them_again(
    segmenter: Segmenter, ct: list[Path], measured: Path, edited: Path, tmp_path: Path
) -> None:
    records = []
    for name, base in (("with", measured / "seg.dcm"), ("without", None)):
        job = CorrectionJob(tuple(ct), (edited,), base=base)
        assert correct_series(job, segmenter, tmp_path / name, config_sha256=CONFIG).refusal is None
        records.append(json.loads((tmp_path / name / MEASUREMENTS_FILE).read_text(encoding="utf-8")))
    assert records[0] == records[1]
    assert "a person has corrected" in records[0]["uncertainty"]["reason"]
    assert [segment["key"] for segment in records[0]["provenance"]["correction"]["segments"]] == ["ggo"]
    for kind in ("seg.dcm", "sr.dcm", "sc.dcm"):
        with_base, without = (tmp_path / name / kind for name in ("with", "without"))
        assert with_base.read_bytes() == without.read_bytes(), kind


def test_the_same_masks_again_give_no_report(
    segmenter: Segmenter, ct: list[Path], measured: Path, edited: Path, tmp_path: Path
) -> None:
    correct_series(
        CorrectionJob(tuple(ct), (edited,), base=measured / "seg.dcm"),
        segmenter,
        tmp_path / "first",
        config_sha256=CONFIG,
    )
    again = CorrectionJob(tuple(ct), (edited,), base=tmp_path / "first" / "seg.dcm")
    analysis = correct_series(again, segmenter, tmp_path / "second", config_sha256=CONFIG)
    assert analysis.refusal is not None
    assert analysis.refusal[0] is RefusalReason.UNCHANGED_SEGMENTATION
    assert not analysis.results.files


def test_masks_of_the_first_result_that_come_back_late_undo_no_correction(
    segmenter: Segmenter, ct: list[Path], measured: Path, edited: Path, tmp_path: Path
) -> None:
    """A PACS may forward the node's own segmentation after a person has corrected it."""
    first = CorrectionJob(tuple(ct), (edited,), base=measured / "seg.dcm")
    correct_series(first, segmenter, tmp_path / "first", config_sha256=CONFIG)
    seg = measured / "seg.dcm"
    own = ((str(dcmread(seg).SOPInstanceUID), seg),)
    late = CorrectionJob(tuple(ct), (seg,), own=own, base=tmp_path / "first" / "seg.dcm")
    refusal = correct_series(late, segmenter, tmp_path / "late", config_sha256=CONFIG).refusal
    assert refusal is not None and refusal[0] is RefusalReason.UNCHANGED_SEGMENTATION


def test_a_correction_that_leaves_no_lung_is_refused_in_the_study(
    segmenter: Segmenter, ct: list[Path], measured: Path, tmp_path: Path
) -> None:
    nothing = np.zeros((len(ct), *dcmread(ct[0]).pixel_array.shape), np.bool_)
    names = ("lungs", "right", "left", "lesion")
    path = save(ct, {LABELS[name]: nothing for name in names}, tmp_path / "empty.dcm")
    job = CorrectionJob(tuple(ct), (path,), base=measured / "seg.dcm")
    analysis = correct_series(job, segmenter, tmp_path / "out", config_sha256=CONFIG)
    assert analysis.refusal == (RefusalReason.NO_LUNG, "the edited masks leave no lung")
    assert [file.path.name for file in analysis.results.files] == ["refusal.dcm", "sc.dcm"]


def test_corrected_masks_are_kept_for_training_without_patient_data(
    segmenter: Segmenter, ct: list[Path], measured: Path, edited: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "training"
    job = CorrectionJob(tuple(ct), (edited,), base=measured / "seg.dcm", training_directory=directory)
    assert correct_series(job, segmenter, tmp_path / "out", config_sha256=CONFIG).refusal is None
    (case,) = load_volumes(directory)
    header = dcmread(ct[0], stop_before_pixels=True)
    secrets = {str(header.PatientID), str(header.SeriesInstanceUID)}
    kept = list(directory.iterdir())
    assert len(kept) == 3
    assert not any(secret in path.name for secret in secrets for path in kept)
    masks = segment_masks(dcmread(tmp_path / "out" / "seg.dcm"), assemble_series(ct))
    assert set(case.truth) >= {"lung", "lesion", "ggo"}
    assert np.array_equal(case.truth["ggo"], masks[GGO])


def test_a_full_training_disk_costs_no_correction(
    segmenter: Segmenter, ct: list[Path], measured: Path, edited: Path, tmp_path: Path
) -> None:
    (tmp_path / "training").write_bytes(b"a file where the folder should be")
    job = CorrectionJob(
        tuple(ct), (edited,), base=measured / "seg.dcm", training_directory=tmp_path / "training"
    )
    assert correct_series(job, segmenter, tmp_path / "out", config_sha256=CONFIG).results.files


def test_an_edited_label_map_is_measured(
    segmenter: Segmenter, ct: list[Path], measured: Path, tmp_path: Path
) -> None:
    """Made by the node, its consolidation and GGO erased by a person, sent back."""
    analyze_series(
        ct, segmenter, tmp_path / "map", config_sha256=CONFIG, further=FurtherResults.of(["labelmap"])
    )
    edited = dcmread(tmp_path / "map" / "labelmap.dcm")
    normal = {
        item.SegmentLabel.removesuffix(" without opacity").lower(): item.SegmentNumber
        for item in edited.SegmentSequence
        if item.SegmentLabel.endswith("without opacity")
    }
    pixels = edited.pixel_array
    assert len(normal) == 5
    for item in edited.SegmentSequence:
        if ", " in item.SegmentLabel:
            pixels[pixels == item.SegmentNumber] = normal[item.SegmentLabel.split(", ")[1]]
    edited.decompress()
    edited.PixelData = pixels.tobytes()
    edited.SOPInstanceUID = edited.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    edited.save_as(tmp_path / "edited.dcm")
    job = CorrectionJob(tuple(ct), (tmp_path / "edited.dcm",), base=measured / "seg.dcm")
    assert correct_series(job, segmenter, tmp_path / "out", config_sha256=CONFIG).refusal is None
    before, after = (
        json.loads((folder / MEASUREMENTS_FILE).read_text(encoding="utf-8"))
        for folder in (measured, tmp_path / "out")
    )
    assert before["lesion_volume_ml"] > after["lesion_volume_ml"] == 0
    assert after["lung_volume_ml"] == before["lung_volume_ml"]
