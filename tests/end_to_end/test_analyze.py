"""`dicomnode analyze` on a folder as a researcher has it: a chest CT, a refused series, other files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dicomnode.cli import main


def test_a_mixed_folder(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "study", tmp_path / "out"
    shutil.copytree(data_dir / "cip_ct64_chest", folder / "chest")
    shutil.copytree(data_dir / "refuse" / "gantrytilting", folder / "tilted")
    (folder / "notes.txt").write_text("no DICOM", encoding="utf-8")

    assert main(["analyze", str(folder), "--out", str(out), "--device", "cpu"]) == 0

    told = capsys.readouterr().out
    assert "measured" in told
    assert "gantry_tilt" in told
    chest = dcmread(next((folder / "chest").glob("*.dcm")), stop_before_pixels=True)
    results = out / chest.SeriesInstanceUID
    assert {path.name for path in results.iterdir()} == {
        "seg.dcm",
        "sr.dcm",
        "measurements.json",
        "overview.png",
    }
    record = json.loads((results / "measurements.json").read_text(encoding="utf-8"))
    assert 4400 < record["lung_volume_ml"] < 4700
    (refusal,) = out.rglob("refusal.dcm")
    assert refusal.parent != results
    assert not list(out.rglob("sc.dcm"))


def test_the_same_input_gives_the_same_bytes_and_formats_are_chosen(data_dir: Path, tmp_path: Path) -> None:
    ct = str(data_dir / "cip_ct64_chest")
    assert main(["analyze", ct, "--out", str(tmp_path / "one")]) == 0
    assert main(["analyze", ct, "--out", str(tmp_path / "two"), "--format", "sr,sc,nifti"]) == 0
    (one,), (two,) = (list((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert (one / "sr.dcm").read_bytes() == (two / "sr.dcm").read_bytes()
    assert (one / "seg.dcm").exists()
    assert not (two / "seg.dcm").exists()
    assert (two / "labels.nii.gz").exists()
    picture = np.asarray(Image.open(two / "overview.png"))
    np.testing.assert_array_equal(dcmread(two / "sc.dcm").pixel_array, picture)


def test_documents_and_pictures_are_written_where_they_are_asked_for(data_dir: Path, tmp_path: Path) -> None:
    ct = str(data_dir / "cip_ct64_chest")
    assert main(["analyze", ct, "--out", str(tmp_path), "--format", "pdf,overlay,ko,gsps"]) == 0
    classes = [dcmread(path, stop_before_pixels=True).SOPClassUID.name for path in tmp_path.rglob("*.dcm")]
    assert classes.count("Secondary Capture Image Storage") > 20, "the overlay, a slice each"
    assert {name for name in classes if not name.startswith("Secondary")} == {
        "Encapsulated PDF Storage",
        "Key Object Selection Document Storage",
        "Grayscale Softcopy Presentation State Storage",
    }


def test_the_overlay_is_one_object_where_that_is_configured(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOMNODE_REPORT__OVERLAY", "multiframe")
    ct = str(data_dir / "cip_ct64_chest")
    assert main(["analyze", ct, "--out", str(tmp_path), "--format", "overlay"]) == 0
    (path,) = tmp_path.rglob("*.dcm")
    assert dcmread(path, stop_before_pixels=True).NumberOfFrames > 20


def test_nothing_that_can_be_measured_is_status_1(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "refuse" / "gantrytilting"
    assert main(["analyze", str(folder), "--out", str(tmp_path), "--format", "sc"]) == 1
    assert sorted(path.name for path in tmp_path.rglob("*.dcm")) == ["refusal.dcm", "sc.dcm"]
