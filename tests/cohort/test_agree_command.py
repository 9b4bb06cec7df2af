"""`dicomnode agree` on masks and on tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from PIL import Image

SPACING_MM = (2.0, 2.0, 5.0)
VOXEL_ML = 0.02


def write_mask(path: Path, values: np.ndarray, origin: float = 0.0) -> None:
    image = SimpleITK.GetImageFromArray(values.astype(np.uint8))
    image.SetSpacing(SPACING_MM)
    image.SetOrigin((origin, 0.0, 0.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


def box(size: int, label: int = 1, start: int = 0) -> np.ndarray:
    values = np.zeros((10, 20, 20))
    values[:5, start : start + size, :10] = label
    return values


def agree(*arguments: object) -> tuple[int, Any, str]:
    command = [sys.executable, "-m", "dicomnode.cli", "agree", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if "--json" in arguments else done.stdout, done.stderr


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four cases: the prediction is the reference, moved by two rows, with a second label in the last."""
    for number, size in enumerate((4, 6, 8, 10)):
        reference, prediction = box(size), box(size, start=2)
        if number == 3:
            reference[8:, :5, :5] = 2
            prediction[8:, :5, :5] = 2
        write_mask(tmp_path / "one" / f"case{number}.nii.gz", reference)
        write_mask(tmp_path / "two" / f"case{number}.nii.gz", prediction)
    return tmp_path / "one", tmp_path / "two"


def test_masks_are_paired_by_name_and_compared_label_by_label(folders: tuple[Path, Path]) -> None:
    status, found, _ = agree(*folders, "--json")
    assert status == 0
    first = found["cases"][0]
    assert (first["case"], first["label"]) == ("case0", "any")
    assert (first["dice"], first["sensitivity"], first["ppv"]) == (0.5, 0.5, 0.5)
    assert first["reference_ml"] == pytest.approx(5 * 4 * 10 * VOXEL_ML)
    last = [one for one in found["cases"] if one["case"] == "case3"]
    assert [(one["label"], one["dice"]) for one in last[1:]] == [("1", 0.8), ("2", 1.0)]
    assert found["agreement"]["volume of any, mL"]["mae"] == 0


def test_the_table_and_the_picture_of_a_person(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_mask(folders[1] / "case1.nii.gz", box(9))
    status, printed, _ = agree(*folders, "--out", tmp_path / "pictures")
    assert status == 0
    assert "0.800" in printed and "ICC [95 %]" in printed
    assert "volume of 2, mL: 1 cases, 3 are needed" in printed
    (picture,) = (tmp_path / "pictures").iterdir()
    with Image.open(picture) as image:
        assert image.size[0] > 1500
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 100


def test_tables_are_paired_by_case(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("case,extent,name\n1,10,x\n2,20,y\n3,30,z\n4,,q\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("case,name,extent\n3,z,33\n2,y,22\n1,x,11\n4,q,5\n", encoding="utf-8")
    status, found, _ = agree(tmp_path / "a.csv", tmp_path / "b.csv", "--json")
    assert status == 0
    assert list(found["agreement"]) == ["extent"]
    assert found["agreement"]["extent"]["cases"] == 3
    assert found["agreement"]["extent"]["bias"] == pytest.approx(2.0)


def test_what_cannot_be_compared_is_one_sentence(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_mask(tmp_path / "shifted" / "case0.nii.gz", box(4), origin=3.0)
    status, _, told = agree(folders[0] / "case0.nii.gz", tmp_path / "shifted" / "case0.nii.gz")
    assert status == 1 and "different grids" in told
    status, _, told = agree(folders[0], tmp_path / "shifted")
    assert status == 1 and "no mask for case1, case2, case3" in told
    status, _, told = agree(tmp_path / "nowhere", folders[1])
    assert status == 1 and "neither a folder nor a file" in told
    (tmp_path / "a.csv").write_text("case,x\n1,2\n1,3\n", encoding="utf-8")
    status, _, told = agree(tmp_path / "a.csv", tmp_path / "a.csv")
    assert status == 1 and "appears twice" in told
