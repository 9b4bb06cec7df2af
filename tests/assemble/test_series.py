"""Finding series in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicomnode.assemble.series import find_series
from tests.assemble.ct_series import write_series


def second_series(_index: int, dataset: Dataset) -> None:
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.Modality = "MR"
    dataset.SOPInstanceUID += ".1"


def test_files_are_grouped_by_series_at_any_depth(tmp_path: Path) -> None:
    first = write_series(tmp_path / "a" / "deep", count=4) + write_series(tmp_path / "z", count=2)
    second = write_series(tmp_path / "a", count=3, edit=second_series)
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "empty").touch()
    found = find_series(tmp_path)
    assert {series.paths for series in found} == {tuple(sorted(first)), tuple(sorted(second))}
    assert {series.modality for series in found} == {"CT", "MR"}
    assert len(found) == 2
    assert {path.name for path in found.ignored} == {"notes.txt", "empty"}
    assert found.damaged == ()


def test_a_dicomdir_is_ignored(tmp_path: Path) -> None:
    files = FileSet()

    def identify(_index: int, dataset: Dataset) -> None:
        dataset.PatientID, dataset.StudyDate, dataset.StudyTime = "1", "20200101", "120000"
        dataset.StudyID, dataset.SeriesNumber, dataset.AccessionNumber = "1", 1, ""

    for path in write_series(tmp_path / "source", count=2, edit=identify):
        files.add(pydicom.dcmread(path))
    files.write(tmp_path / "disk")
    found = find_series(tmp_path / "disk")
    assert [len(series.paths) for series in found] == [2]
    assert [path.name for path in found.ignored] == ["DICOMDIR"]


def test_dicom_files_broken_before_their_series_are_told(tmp_path: Path) -> None:
    paths = write_series(tmp_path, count=4)
    paths[1].write_bytes(paths[1].read_bytes()[:300])
    paths[2].write_bytes(paths[2].read_bytes()[:150])
    found = find_series(tmp_path)
    assert [len(series.paths) for series in found] == [2]
    assert found.damaged == (paths[1], paths[2])


def test_a_slice_cut_in_its_pixels_stays_in_its_series(tmp_path: Path) -> None:
    def make_noise(index: int, dataset: Dataset) -> None:
        dataset.PixelData = np.random.default_rng(index).bytes(len(dataset.PixelData))

    for name, uid in (("plain", "1.2.840.10008.1.2.1"), ("deflated", DeflatedExplicitVRLittleEndian)):
        paths = write_series(tmp_path / name, count=4, transfer_syntax_uid=uid, edit=make_noise)
        paths[1].write_bytes(paths[1].read_bytes()[:-40])
        (series,) = find_series(tmp_path / name)
        assert series.paths == tuple(paths)


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        find_series(tmp_path / "nowhere")
