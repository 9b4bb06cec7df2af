"""The quick ways to headers, uncompressed pixels and JPEG give what the general ways give, or nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence

from dicomnode.assemble.decoders import PixelFormat, decode_frame, decode_slowly
from dicomnode.assemble.elements import BROKEN, read_elements
from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.headers import TAG_SET, SliceHeader, header_of, read_header
from dicomnode.assemble.pixels import read_hounsfield, read_stored_values, to_hounsfield
from dicomnode.assemble.quick_decoders import quick_decode
from dicomnode.assemble.quick_elements import elements_of, quick_elements
from dicomnode.phantom.build import Phantom, build_phantom
from dicomnode.phantom.options import PixelFormat as StoredAs
from dicomnode.phantom.options import SliceOrder
from dicomnode.phantom.series import write_series as write_phantom
from dicomnode.phantom.spec import PhantomSpec
from tests.assemble.ct_series import Edit, write_series

LOSSLESS_JPEG, LOSSLESS_JPEG_SV1, JPEG_LS = (f"1.2.840.10008.1.2.4.{n}" for n in (57, 70, 80))


def general_header(path: Path) -> SliceHeader:
    return header_of(path, *read_elements(path, list(TAG_SET)))


def assert_same_header(path: Path) -> bool:
    """Whether the quick way dared to read it."""
    quick = quick_elements(path, TAG_SET)
    if quick is not None:
        assert header_of(path, *quick) == general_header(path), path.name
    return quick is not None


def assert_same_pixels(path: Path) -> None:
    header = read_header(path)
    assert header.rows is not None
    assert header.columns is not None
    quick = np.empty((header.rows, header.columns), np.int16)
    general = np.empty_like(quick)
    read_hounsfield(header, quick)
    to_hounsfield(read_stored_values(header), header, general)
    assert np.array_equal(quick, general), path.name


def test_real_headers_are_the_same_either_way(data_dir: Path) -> None:
    real = [*sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[::20]]
    real += sorted((data_dir / "cip_ct64_chest").rglob("*.dcm"))[::20]
    real += [path for path in sorted((data_dir / "refuse").rglob("*")) if path.is_file()][::3]
    real += sorted((data_dir / "edge" / "every_transfer_syntax").iterdir())
    quick = 0
    for path in real:
        try:
            general_header(path)
        except (*BROKEN, AssembleError):
            continue
        quick += assert_same_header(path)
    assert quick > 0.7 * len(real)


STORED_AS: dict[str, dict[str, Any]] = {
    "signed with padding": {"pixel_format": StoredAs.SIGNED_16},
    "signed HU": {"pixel_format": StoredAs.SIGNED_16_HU},
    "twelve bits": {"pixel_format": StoredAs.UNSIGNED_12},
    "half a unit": {"pixel_format": StoredAs.UNSIGNED_16_HALF},
    "turned": {"flip_rows": True, "flip_columns": True},
    "other characters": {"patient_name": "Müller^Jürgen", "manufacturer": "Générale"},
    "implicit": {"transfer_syntax_uid": "1.2.840.10008.1.2"},
    "big endian": {"transfer_syntax_uid": "1.2.840.10008.1.2.2"},
    "deflated": {"transfer_syntax_uid": "1.2.840.10008.1.2.1.99"},
    "shuffled": {"slice_order": SliceOrder.SHUFFLED},
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return build_phantom(
        PhantomSpec(
            seed=3,
            matrix=(17, 48, 64),
            spacing_mm=(18.0, 7.5, 6.0),
            reconstruction_circle=True,
            padding_hu=-1024,
        )
    )


@pytest.mark.parametrize("name", STORED_AS)
def test_phantoms_are_the_same_either_way(phantom: Phantom, tmp_path: Path, name: str) -> None:
    for path in write_phantom(phantom, tmp_path, **STORED_AS[name]):
        dared = assert_same_header(path)
        assert dared is (name not in ("big endian", "deflated"))
        assert_same_pixels(path)


def nested(_index: int, dataset: Dataset) -> None:
    inner = Dataset()
    inner.CodeValue = "1"
    outer = Dataset()
    outer.ProcedureCodeSequence = Sequence([inner])
    outer["ProcedureCodeSequence"].is_undefined_length = True
    inner.is_undefined_length_sequence_item = True
    outer.is_undefined_length_sequence_item = True
    dataset.ReferencedStudySequence = Sequence([outer, outer])
    dataset["ReferencedStudySequence"].is_undefined_length = True


def rescaled(_index: int, dataset: Dataset) -> None:
    dataset.RescaleSlope = "0.5"


def twelve_bits_signed(_index: int, dataset: Dataset) -> None:
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
    stored = np.frombuffer(dataset.PixelData, np.uint16) | 0xA000
    dataset.PixelData = stored.tobytes()


def padded_above(_index: int, dataset: Dataset) -> None:
    dataset.PixelPaddingValue = 24 + 30000
    stored = np.frombuffer(dataset.PixelData, np.uint16).copy()
    stored[:11] += 30000
    dataset.PixelData = stored.tobytes()


def other_characters(_index: int, dataset: Dataset) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.Manufacturer = "Générale"


def odd_numbers(_index: int, dataset: Dataset) -> None:
    dataset.RescaleIntercept = "-1024.5"
    dataset.add_new(0x00200012, "SH", "no number")
    dataset.add_new(0x00090010, "LO", "OURS")
    dataset.add_new(0x00091001, "UN", b"\1\2\3\4")


@pytest.mark.parametrize(
    "edit", [nested, rescaled, twelve_bits_signed, padded_above, other_characters, odd_numbers]
)
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_disturbed_slices_are_the_same_either_way(tmp_path: Path, edit: Edit, syntax: str) -> None:
    (path,) = write_series(tmp_path, count=1, edit=edit, transfer_syntax_uid=syntax)
    assert assert_same_header(path)
    assert_same_pixels(path)


def test_a_syntax_that_is_not_the_one_named_is_left_to_pydicom(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, count=1, transfer_syntax_uid="1.2.840.10008.1.2")
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1"[:18], 1))
    assert not assert_same_header(path)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(132, 900), value=st.integers(0, 255), end=st.integers(140, 4000))
def test_a_damaged_header_is_never_read_otherwise_than_by_pydicom(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, end: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    path = folder / "000.dcm"
    if not path.exists():
        write_series(folder, count=1, edit=nested)
        (folder / "whole").write_bytes(path.read_bytes())
    damaged = bytearray((folder / "whole").read_bytes())
    damaged[place % len(damaged)] = value
    path.write_bytes(damaged[:end])
    found = elements_of(bytes(damaged[:end]), len(damaged[:end]), TAG_SET)
    if found is None:
        return
    try:
        general = read_elements(path, list(TAG_SET))
    except BROKEN:
        pytest.fail("read where pydicom gives up")
    try:
        expected = header_of(path, *general)
    except AssembleError:
        with pytest.raises(AssembleError):
            header_of(path, *found)
    else:
        assert header_of(path, *found) == expected


def jpeg_of(path: Path, tool: str, *options: str) -> tuple[bytes, PixelFormat] | None:
    out = path.with_suffix(".jpg.dcm")
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"dcmtk's {tool} is needed")
    subprocess.run([program, *options, str(path), str(out)], check=True, capture_output=True)
    dataset = pydicom.dcmread(out)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    return frame, PixelFormat(
        str(dataset.file_meta.TransferSyntaxUID),
        dataset.Rows,
        dataset.Columns,
        dataset.BitsAllocated,
        dataset.BitsStored,
        dataset.PixelRepresentation,
    )


def noisy(bits: int, signed: bool) -> Edit:
    def edit(_index: int, dataset: Dataset) -> None:
        values = np.random.default_rng(bits).integers(0, 2**bits, dataset.Rows * dataset.Columns)
        values[: dataset.Columns] = np.where(np.arange(dataset.Columns) % 2, 0, 2 ** (bits - 1))
        if signed:
            values -= (values >= 2 ** (bits - 1)) * 2**bits
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        dataset.PixelRepresentation = int(signed)
        dataset.PixelData = values.astype(np.int16 if signed else np.uint16).tobytes()

    return edit


@pytest.mark.parametrize("bits", [10, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        ("dcmcjpeg", "+e1"),
        *(("dcmcjpeg", "+el", "+sv", str(selection)) for selection in range(1, 8)),
        ("dcmcjpls", "+el"),
        ("dcmcjpls", "+en", "+md", "3"),
    ],
    ids=" ".join,
)
def test_jpeg_decodes_to_the_same_bits_by_every_decoder(
    tmp_path: Path, bits: int, signed: bool, options: tuple[str, ...]
) -> None:
    if signed and "+en" in options:
        pytest.skip("dcmcjpls writes near-lossless frames of unsigned values only")
    (path,) = write_series(tmp_path, count=1, edit=noisy(bits, signed))
    frame, pixel_format = jpeg_of(path, *options)
    unused = 16 - pixel_format.bits_stored
    quick, slow = decode_frame(frame, pixel_format), decode_slowly(frame, pixel_format)
    assert np.array_equal((quick << unused) >> unused, (slow << unused) >> unused)
    if "+en" not in options:
        stored = pydicom.dcmread(path).pixel_array
        assert np.array_equal((quick << unused) >> unused, stored)


def test_the_quick_decoder_reads_plain_frames_and_refuses_others(data_dir: Path) -> None:
    pytest.importorskip("imagecodecs")
    path = sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[100]
    frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    assert quick_decode(frame, LOSSLESS_JPEG_SV1, 512, 512, 16) is not None
    assert quick_decode(frame, LOSSLESS_JPEG_SV1, 512, 512, 12) is None
    assert quick_decode(frame, LOSSLESS_JPEG_SV1, 512, 256, 16) is None
    assert quick_decode(frame, JPEG_LS, 512, 512, 16) is None
    assert quick_decode(frame[:40], LOSSLESS_JPEG_SV1, 512, 512, 16) is None


def test_real_jpeg_is_the_same_by_every_decoder(data_dir: Path) -> None:
    for path in sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[::40]:
        frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
        pixel_format = PixelFormat(LOSSLESS_JPEG_SV1, 512, 512, 16, 16, 1)
        assert np.array_equal(decode_frame(frame, pixel_format), decode_slowly(frame, pixel_format))
