"""An edited segmentation goes back to the node: a new report with the edited masks' numbers, and no loops."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.volume import Volume
from dicomnode.demo.read_back import reported_values, segment_masks
from dicomnode.phantom import PhantomSpec, build_phantom, write_series
from tests.correct.viewer import LABELS, save
from tests.end_to_end.conftest import Hospital
from tests.report.conftest import tool, validate

__all__ = ["tool", "validate"]

LUNGS, LESION, GGO, CONSOLIDATION = (
    ("39607008", "51440002"),
    ("52988006", ""),
    ("112120", ""),
    ("95436008", ""),
)


class Study:
    """A CT on its way through node and PACS."""

    def __init__(self, hospital: Hospital, files: list[Path]) -> None:
        self.hospital, self.files = hospital, files
        header = dcmread(files[0], stop_before_pixels=True)
        self.uid, self.ct_series = str(header.StudyInstanceUID), str(header.SeriesInstanceUID)
        self.volume: Volume = assemble_series(files)

    def send(self, *files: Path) -> None:
        subprocess.run(["storescu", "-R", *self.hospital.address, *map(str, files)], check=True)

    def objects(self, modality: str) -> dict[str, Dataset]:
        """What the PACS has of the study, by series."""
        found = {}
        for series in self.hospital.client.find_series(self.uid):
            if series.modality == modality:
                (found[series.series_instance_uid],) = self.hospital.client.get_series(
                    self.uid, series.series_instance_uid
                )
        return found

    def correct(self, path: Path) -> dict[str, object]:
        """Send an edited segmentation; what `dicomnode status` says in the end."""
        self.send(path)
        return self.hospital.wait_for(str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID))

    def newest(self, modality: str, known: dict[str, Dataset]) -> Dataset:
        """The one object that the PACS didn't have before."""
        (new,) = [found for series, found in self.objects(modality).items() if series not in known]
        return new


@pytest.fixture(scope="module")
def study(hospital: Hospital, data_dir: Path) -> Study:
    """A measured CT."""
    study = Study(hospital, sorted((data_dir / "cip_ct64_chest").glob("*.dcm")))
    study.send(*study.files)
    assert hospital.wait_for(study.ct_series)["state"] == "delivered"
    return study


def predecessor_of(report: Dataset) -> str:
    """SOP Instance UID of the report that it replaces."""
    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (document,) = series.ReferencedSOPSequence
    return str(document.ReferencedSOPInstanceUID)


def evidence_of(report: Dataset) -> set[str]:
    """SOP Instance UIDs that a report names as evidence."""
    return {
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def numbers_of(report: Dataset) -> dict[str, float]:
    """What a report says of both lungs, under the names of the measurements."""
    values = {value.contract_path: value.value for value in reported_values(report)}
    return {str(path[0]): value for path, value in values.items() if len(path) == 1}


def texts_of(report: Dataset) -> str:
    """All text of a report."""
    return "\n".join(
        [str(report.TextValue)] if "TextValue" in report else [],
    ) + "\n".join(texts_of(item) for item in report.get("ContentSequence", []))


def test_our_own_segmentation_that_comes_back_ends_there(study: Study, tmp_path: Path) -> None:
    """A PACS that forwards everything it gets must not start a loop."""
    (seg,) = study.objects("SEG").values()
    reports = study.objects("SR")
    path = tmp_path / "seg.dcm"
    seg.save_as(path, enforce_file_format=True)
    status = study.correct(path)
    assert (status["state"], status["reason"]) == ("refused", "unchanged_segmentation")
    assert study.objects("SR").keys() == reports.keys()


def test_an_edited_segmentation_is_measured(
    study: Study, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    segs, reports = study.objects("SEG"), study.objects("SR")
    (before,), (first,) = segs.values(), reports.values()
    masks = segment_masks(before, study.volume)
    right = np.arange(study.volume.hu.shape[2]) < study.volume.hu.shape[2] // 2
    ggo = masks[GGO] & ~right
    assert ggo.sum() < masks[GGO].sum()
    dense = masks[CONSOLIDATION].copy()
    centre = np.argwhere(masks[LUNGS] & right)[masks[LUNGS][:, :, right].sum() // 2]
    dense[tuple(slice(at - 2, at + 2) for at in centre)] = True
    dense &= masks[LUNGS]
    edited = {LABELS["ggo"]: ggo & ~dense, LABELS["consolidation"]: dense}
    path = save(study.files, edited, tmp_path / "edited.dcm")
    assert study.correct(path)["state"] == "delivered"

    report, seg = study.newest("SR", reports), study.newest("SEG", segs)
    assert predecessor_of(report) == first.SOPInstanceUID
    sent = dcmread(path, stop_before_pixels=True)
    assert {sent.SOPInstanceUID, seg.SOPInstanceUID} <= evidence_of(report)
    assert report.SeriesDescription == "dicomnode lung measurements, corrected"
    assert "masks that a person has corrected" in texts_of(report)
    assert "Ground glass opacity" in texts_of(report)

    after = segment_masks(seg, study.volume)
    assert np.array_equal(after[GGO], ggo & ~dense)
    assert np.array_equal(after[CONSOLIDATION], dense)
    assert np.array_equal(after[LESION], ggo | dense)
    unchanged = masks.keys() - {GGO, CONSOLIDATION, LESION}
    assert all(np.array_equal(after[kind], masks[kind]) for kind in unchanged)
    types = {item.SegmentLabel: item.SegmentAlgorithmType for item in seg.SegmentSequence}
    assert types[LABELS["ggo"]] == types[LABELS["lesion"]] == "SEMIAUTOMATIC"
    assert types[LABELS["lungs"]] == "AUTOMATIC"

    values, voxel_ml = numbers_of(report), study.volume.voxel_ml
    assert values["consolidation_volume_ml"] == pytest.approx(dense.sum() * voxel_ml, abs=0.001)
    assert values["ggo_volume_ml"] == pytest.approx((ggo & ~dense).sum() * voxel_ml, abs=0.001)
    extent = 100 * (ggo | dense).sum() / masks[LUNGS].sum()
    assert values["lesion_extent_percent"] == pytest.approx(extent, abs=0.001)
    for one in (report, seg):
        file = tmp_path / f"{one.Modality}.dcm"
        one.save_as(file, enforce_file_format=True)
        assert validate(file) == []


def test_a_second_correction_begins_where_the_first_ended(study: Study, tmp_path: Path) -> None:
    segs, reports = study.objects("SEG"), study.objects("SR")
    (last,) = [seg for seg in segs.values() if "corrected" in seg.SeriesDescription]
    (report,) = [one for one in reports.values() if "corrected" in one.SeriesDescription]
    masks = segment_masks(last, study.volume)
    nothing = np.zeros_like(masks[GGO])
    path = save(study.files, {LABELS["ggo"]: nothing, "Nodule": masks[LESION]}, tmp_path / "again.dcm")
    assert study.correct(path)["state"] == "delivered"
    new, seg = study.newest("SR", reports), study.newest("SEG", segs)
    assert predecessor_of(new) == report.SOPInstanceUID
    assert "Segments that are not the node's were not measured: 1." in texts_of(new)
    after = segment_masks(seg, study.volume)
    assert np.array_equal(after[CONSOLIDATION], masks[CONSOLIDATION])
    assert not after.get(GGO, nothing).any()


def test_other_peoples_segmentations_are_refused_with_a_sentence(study: Study, tmp_path: Path) -> None:
    reports = study.objects("SR")
    mask = study.volume.hu > 100
    status = study.correct(save(study.files, {"Bone": mask}, tmp_path / "bone.dcm"))
    assert (status["state"], status["reason"]) == ("refused", "foreign_segmentation")
    assert "none of its 1 segments is one of the node's" in str(status["detail"])
    assert study.objects("SR").keys() == reports.keys()


def test_a_correction_that_comes_before_its_ct_is_told_and_measured_after_it(
    hospital: Hospital, tmp_path: Path
) -> None:
    phantom = build_phantom(PhantomSpec.whole_lung((62, 128, 128), seed=7))
    study = Study(hospital, write_series(phantom, tmp_path / "ct"))
    mask = np.zeros(study.volume.hu.shape, np.bool_)
    mask[25:30, 60:66, 90:96] = True
    path = save(study.files, {LABELS["ggo"]: mask}, tmp_path / "early.dcm")
    status = study.correct(path)
    assert (status["state"], status["reason"]) == ("refused", "no_source_images")
    (told,) = study.objects("SR").values()
    assert "no_source_images" in texts_of(told)
    study.send(*study.files)
    assert hospital.wait_for(study.ct_series)["state"] == "delivered"
    series = str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID)
    assert hospital.wait_for(series, "delivered")["state"] == "delivered"
    (report,) = [one for one in study.objects("SR").values() if "corrected" in one.SeriesDescription]
    assert numbers_of(report)["ggo_volume_ml"] == pytest.approx(mask.sum() * study.volume.voxel_ml, abs=0.001)
