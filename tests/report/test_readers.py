"""Readers of others get back out of every object what is in it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import highdicom
import httpx
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from dicomnode.deliver.peer import Peer
from dicomnode.deliver.sender import send_files
from dicomnode.demo.orthanc import DICOMWEB, DICOMWEB_PLUGIN, OrthancPacs, find_orthanc
from dicomnode.demo.read_back import reported_values
from tests.report.every_object import EveryObject

FOLDERS = ("measured", "corrected", "japanese")
MULTIPART = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.mark.parametrize("folder", FOLDERS)
def test_dcmqi_reads_every_number(
    folder: str, every: EveryObject, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    sr, out = every.folders[folder] / "sr.dcm", tmp_path / "sr.json"
    subprocess.run(
        [tool("tid1500reader"), "--inputDICOM", sr, "--outputMetadata", out], check=True, capture_output=True
    )
    read = [
        (group["TrackingIdentifier"], item["quantity"]["CodeValue"], float(item["value"]))
        for group in json.loads(out.read_text(encoding="utf-8"))["Measurements"]
        for item in group["measurementItems"]
    ]
    assert sorted(read) == sorted(
        (value.group, value.concept, value.value) for value in reported_values(dcmread(sr))
    )
    assert len(read) > 120


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", ["seg", "labelmap"])
def test_dcmqi_and_highdicom_read_the_same_masks(
    name: str, folder: str, every: EveryObject, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    path = every.folders[folder] / f"{name}.dcm"
    command = [
        tool("segimage2itkimage"),
        "--inputDICOM",
        path,
        "--outputDirectory",
        tmp_path,
        "--outputType",
        "nrrd",
    ]
    subprocess.run(command, check=True, capture_output=True)
    read = {}
    for file in tmp_path.glob("*.nrrd"):
        mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
        read |= {int(value): int((mask == value).sum()) for value in np.unique(mask) if value}
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=False)
    counted = volume.array.reshape(-1, volume.array.shape[-1]).sum(axis=0, dtype=np.int64)
    expected = dict(zip(seg.segment_numbers, map(int, counted), strict=True))
    assert read == {number: count for number, count in expected.items() if count}


@pytest.mark.parametrize("folder", FOLDERS)
def test_highdicom_reads_the_report(folder: str, every: EveryObject) -> None:
    report = highdicom.sr.srread(every.folders[folder] / "sr.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    segments = dcmread(every.folders[folder] / "seg.dcm").SegmentSequence
    assert [group.tracking_uid for group in groups] == [segment.TrackingUID for segment in segments]


def test_highdicom_reads_pictures_and_key_objects(every: EveryObject) -> None:
    for path in every.files("sc", "overlay").values():
        image = highdicom.imread(path)
        assert image.get_frame(1).shape == (image.Rows, image.Columns, 3)
    for path in every.files("ko").values():
        selection = highdicom.ko.KeyObjectSelectionDocument.from_dataset(dcmread(path))
        assert selection.content.get_references()


@pytest.fixture(scope="module")
def orthanc(every: EveryObject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancPacs]:
    """Orthanc with DICOMweb and every object in it."""
    if find_orthanc() is None or not DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc with DICOMweb is not installed")
    pacs = OrthancPacs(tmp_path_factory.mktemp("orthanc"), further=DICOMWEB)
    pacs.start()
    peer = Peer(pacs.ae_title, "127.0.0.1", pacs.port, "NODE")
    refused = [one for one in send_files(list(every.files().values()), peer) if not one.ok]
    assert refused == []
    yield pacs
    pacs.stop()


def test_orthanc_gives_back_every_data_set_byte_for_byte(every: EveryObject, orthanc: OrthancPacs) -> None:
    for name, path in every.files().items():
        header = dcmread(path, stop_before_pixels=True)
        address = (
            f"http://127.0.0.1:{orthanc.http_port}/dicom-web/studies/{header.StudyInstanceUID}"
            f"/series/{header.SeriesInstanceUID}/instances/{header.SOPInstanceUID}"
        )
        answer = httpx.get(address, headers={"Accept": MULTIPART}, timeout=60)
        assert answer.status_code == 200, name
        assert dataset(part(answer)) == dataset(path.read_bytes()), name


def test_orthanc_lists_an_answer_by_its_modalities(every: EveryObject, orthanc: OrthancPacs) -> None:
    study = dcmread(every.sources[0], stop_before_pixels=True).StudyInstanceUID
    address = f"http://127.0.0.1:{orthanc.http_port}/dicom-web/studies/{study}/series"
    listed = {series["00080060"]["Value"][0] for series in httpx.get(address, timeout=60).json()}
    assert listed == {"SEG", "SR", "OT", "DOC", "KO", "PR"}


def part(answer: httpx.Response) -> bytes:
    """The only part of a multipart answer."""
    found = re.search(r'boundary="?([^";]+)', answer.headers["Content-Type"])
    assert found is not None
    _, body, _ = answer.content.split(b"--" + found[1].encode(), 2)
    return body.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def dataset(file: bytes) -> bytes:
    """What follows the file meta information, which each system writes for itself."""
    assert file[128:132] == b"DICM"
    length = int.from_bytes(file[140:144], "little")
    return file[144 + length :]
