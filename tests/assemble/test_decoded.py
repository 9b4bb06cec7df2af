"""Slices decoded ahead make the volume that the files make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.decoded import DecodedSlices
from tests.assemble.ct_series import COLUMNS, ROWS, write_series


def test_a_volume_of_decoded_slices_is_that_of_the_files(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    expected = assemble_series(paths)
    decoded = DecodedSlices()
    for path in paths[::2]:
        assert decoded.add(path) is not None
    assert decoded.bytes_held == 10 * ROWS * COLUMNS * 2
    volume = assemble_series(paths, decoded=decoded)
    assert np.array_equal(volume.hu, expected.hu)
    assert np.array_equal(volume.affine, expected.affine)
    assert (volume.instances, volume.acquisition) == (expected.instances, expected.acquisition)


def test_pixels_in_memory_are_not_read_again(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    decoded = DecodedSlices()
    slices = [decoded.add(path) for path in paths]
    assert slices[3] is not None
    slices[3].hu[0, 0] = 77
    assert 77 in assemble_series(paths, decoded=decoded).hu[:, 0, 0]


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    decoded = DecodedSlices()
    for path in paths:
        decoded.add(path)
    data = paths[4].read_bytes()
    paths[4].unlink()
    paths[4].write_bytes(data[:-2] + b"\x30\x04")
    assert decoded.find(paths[4]) is None
    assert assemble_series(paths, decoded=decoded).hu[4, -1, -1] == 0x430 - 1024


def test_there_is_an_end_to_the_memory(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    decoded = DecodedSlices(3 * ROWS * COLUMNS * 2)
    assert [decoded.add(path) is not None for path in paths[:5]] == [True, True, True, False, False]
    decoded.drop(paths[0])
    decoded.drop(paths[0])
    assert decoded.add(paths[4]) is not None
    assert decoded.bytes_held == 3 * ROWS * COLUMNS * 2


def test_what_is_no_slice_is_left_to_the_whole_series(tmp_path: Path) -> None:
    def scout(_index: int, dataset: object) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]  # type: ignore[attr-defined]

    (path,) = write_series(tmp_path / "scout", count=1, edit=scout)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(path.read_bytes()[:300])
    decoded = DecodedSlices()
    assert decoded.add(path) is None
    assert decoded.add(cut) is None
    with pytest.raises(FileNotFoundError):
        decoded.add(tmp_path / "none.dcm")
