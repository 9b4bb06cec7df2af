"""What can't be measured is refused with a reason, visible everywhere; nothing stops the node."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.end_to_end.conftest import Hospital

REFUSED = {
    "head_ct": "gap",
    "sliceincrement/001": "gap",
    "sliceincrement/002": "gap",
    "notavolume/001": "duplicate_position",
    "gantrytilting/001": "gantry_tilt",
    "sagittal_mixed_orientation": "mixed_geometry",
    "modality_seg_class_ct": "not_ct",
}
MR_SERIES = ("sliceorientation/001", "slicecount/001")


@pytest.mark.parametrize("folder", MR_SERIES)
def test_mr_is_declined_at_negotiation(hospital: Hospital, data_dir: Path, folder: str) -> None:
    files = sorted(path for path in (data_dir / "refuse" / folder).iterdir() if path.is_file())
    command = ["storescu", *hospital.address, *map(str, files)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "presentation context" in (told.stderr + told.stdout).lower()


@pytest.mark.parametrize("folder", REFUSED)
def test_each_refused_series_says_why(hospital: Hospital, data_dir: Path, folder: str) -> None:
    files = sorted(path for path in (data_dir / "refuse" / folder).iterdir() if path.is_file())
    header = dcmread(files[0], stop_before_pixels=True)
    subprocess.run(["dcmsend", *hospital.address[2:], *hospital.address[:2], *map(str, files)], check=True)

    series = hospital.wait_for(header.SeriesInstanceUID)

    assert (series["state"], series["reason"]) == ("refused", REFUSED[folder]), series["detail"]
    assert series["detail"]
    assert any(series["id"] in line and REFUSED[folder] in line for line in hospital.log().splitlines())
    reports = [s for s in hospital.client.find_series(header.StudyInstanceUID) if s.modality == "SR"]
    texts = [
        item.TextValue
        for report in reports
        for dataset in hospital.client.get_series(header.StudyInstanceUID, report.series_instance_uid)
        for item in dataset.ContentSequence
        if item.ValueType == "TEXT"
    ]
    assert any(series["detail"] in text for text in texts), texts


def test_a_truncated_file_is_not_measured(hospital: Hospital, data_dir: Path, tmp_path: Path) -> None:
    """Its header is whole, so it is kept; half of its pixels are missing, so nothing is measured."""
    series_uid = generate_uid()
    files = []
    for number, path in enumerate(sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))):
        dataset = dcmread(path)
        dataset.SeriesInstanceUID = series_uid
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        if number == 30:
            dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
        files.append(tmp_path / path.name)
        dataset.save_as(files[-1])
    subprocess.run(["storescu", *hospital.address, *map(str, files)], check=True)

    series = hospital.wait_for(series_uid)

    assert (series["state"], series["reason"]) == ("refused", "no_pixel_data")


def test_enhanced_ct_is_declined_at_negotiation(hospital: Hospital, data_dir: Path, tmp_path: Path) -> None:
    dataset = dcmread(sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))[0])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    path = tmp_path / "enhanced.dcm"
    dataset.save_as(path)
    command = ["storescu", *hospital.address, str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "presentation context" in (told.stderr + told.stdout).lower()


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x01",
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        struct.pack(">BBI", 1, 0, 0xFFFFFFFF) + bytes(64),
        bytes(4096),
    ],
    ids=["one byte", "HTTP", "TLS", "absurd PDU length", "zeros"],
)
def test_rubbish_on_the_port_leaves_the_node_serving(hospital: Hospital, rubbish: bytes) -> None:
    with socket.create_connection(("127.0.0.1", hospital.node.port)) as stranger:
        stranger.sendall(rubbish)
        subprocess.run(["echoscu", *hospital.address], check=True)
    subprocess.run(["echoscu", *hospital.address], check=True)


def test_an_abort_in_mid_transfer_leaves_the_node_serving(hospital: Hospital, data_dir: Path) -> None:
    files = sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))
    subprocess.run(["storescu", "--abort", *hospital.address, str(files[0])], check=False)
    subprocess.run(["echoscu", *hospital.address], check=True)


def test_no_log_line_names_a_patient(hospital: Hospital, data_dir: Path) -> None:
    """Runs after the refusals above: the log has seen all of them by now."""
    log = hospital.log()
    for folder in REFUSED:
        for path in (data_dir / "refuse" / folder).iterdir():
            header = dcmread(path, stop_before_pixels=True)
            for keyword in ("PatientID", "PatientName"):
                identifier = str(header.get(keyword, "")).strip()
                assert len(identifier) < 4 or identifier not in log, f"{folder}: {keyword}"
