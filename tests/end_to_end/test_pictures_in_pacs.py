"""Pictures, document and presentation of a result in Orthanc, and in dcmtk's receiver as it comes."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from dicomnode.deliver.peer import Peer
from dicomnode.deliver.sender import send_files
from dicomnode.demo.orthanc import OrthancPacs, find_orthanc
from dicomnode.report.result_set import FurtherResults, ResultFile, ResultKind
from tests.dicom_network import dataset_bytes, storescp
from tests.report.report_cases import Case, crude_masks, make_case, read_volume

FURTHER = ("overlay", "pdf", "ko", "gsps")


@pytest.fixture(scope="module")
def case(data_dir: Path) -> Case:
    volume = read_volume(data_dir / "cip_ct64_chest")
    return make_case(volume, *crude_masks(volume.hu))


@pytest.fixture(scope="module", params=[False, True], ids=["single", "multiframe"])
def files(
    case: Case, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[ResultFile, ...]:
    out = tmp_path_factory.mktemp("results")
    return case.build(out, further=FurtherResults.of(FURTHER, request.param))


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancPacs]:
    if find_orthanc() is None:
        pytest.skip("Orthanc is not installed")
    pacs = OrthancPacs(tmp_path_factory.mktemp("orthanc"))
    pacs.start()
    yield pacs
    pacs.stop()


def one_of(files: tuple[ResultFile, ...], kind: ResultKind) -> ResultFile:
    return next(file for file in files if file.kind is kind)


class Stored:
    """What Orthanc has of an object."""

    def __init__(self, pacs: OrthancPacs, file: ResultFile) -> None:
        self._root = f"http://127.0.0.1:{pacs.http_port}"
        with urlopen(f"{self._root}/tools/lookup", data=file.sop_instance_uid.encode()) as answer:
            (found,) = [one for one in json.load(answer) if one["Type"] == "Instance"]
        self._instance = found["ID"]

    def get(self, what: str) -> bytes:
        with urlopen(f"{self._root}/instances/{self._instance}/{what}") as answer:
            return bytes(answer.read())


def test_orthanc_takes_all_as_they_are_and_shows_them(
    files: tuple[ResultFile, ...], orthanc: OrthancPacs, tmp_path: Path
) -> None:
    outcomes = send_files([file.path for file in files], Peer("PACS", "127.0.0.1", orthanc.port))
    assert [outcome.error for outcome in outcomes if not outcome.ok] == []
    for kind in FURTHER:
        file = one_of(files, ResultKind(kind))
        back = tmp_path / f"{kind}.dcm"
        back.write_bytes(Stored(orthanc, file).get("file"))
        assert dataset_bytes(back) == dataset_bytes(file.path)
    document = one_of(files, ResultKind.PDF)
    assert Stored(orthanc, document).get("pdf").startswith(b"%PDF")
    overlay = one_of(files, ResultKind.OVERLAY)
    preview = Image.open(io.BytesIO(Stored(orthanc, overlay).get("preview"))).convert("RGB")
    first = dcmread(overlay.path).pixel_array.reshape(-1, 64, 64, 3)[0]
    np.testing.assert_array_equal(np.asarray(preview), first)


def test_a_receiver_without_jpeg_ls_gets_the_same_pixels(
    files: tuple[ResultFile, ...], tmp_path: Path
) -> None:
    wanted = [file for file in files if file.kind in FURTHER]
    with storescp(tmp_path) as (port, received):
        outcomes = send_files([file.path for file in wanted], Peer("PACS", "127.0.0.1", port))
        assert [outcome.error for outcome in outcomes if not outcome.ok] == []
        arrived = {dcmread(path).SOPInstanceUID: dcmread(path) for path in received.iterdir()}
    overlay = one_of(files, ResultKind.OVERLAY)
    native = arrived[overlay.sop_instance_uid]
    assert native.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(native.pixel_array, dcmread(overlay.path).pixel_array)


def test_dcmtk_reads_the_selection_and_applies_the_state(
    case: Case, files: tuple[ResultFile, ...], tmp_path: Path
) -> None:
    if shutil.which("dsrdump") is None or shutil.which("dcmp2pgm") is None:
        pytest.skip("dcmtk is not installed")
    selection = one_of(files, ResultKind.KO)
    told = subprocess.run(["dsrdump", selection.path], capture_output=True, text=True, check=True).stdout
    assert "Of Interest" in told and told.count("<contains IMAGE:") == 4
    state = one_of(files, ResultKind.GSPS)
    (series,) = dcmread(state.path).ReferencedSeriesSequence
    uid = series.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    z = [instance.sop_instance_uid for instance in case.volume.instances].index(uid)
    drawn = tmp_path / "key.pgm"
    command = ["dcmp2pgm", "-p", state.path, case.volume.instances[z].path, drawn]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(drawn) as picture:
        gray = np.asarray(picture).astype(float)
    expected = np.clip((case.volume.hu[z] + 1350.0) * 255 / 1500, 0, 255)
    assert gray.shape == expected.shape
    assert np.abs(gray - expected).mean() < 4, "the lung window"


def test_all_objects_agree_about_patient_and_study(case: Case, files: tuple[ResultFile, ...]) -> None:
    tool = shutil.which("dcentvfy") or pytest.skip("dcentvfy is not installed")
    paths = [*(file.path for file in files), *(one.path for one in case.volume.instances)]
    done = subprocess.run([tool, *map(str, paths)], capture_output=True, text=True, check=False)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    assert errors == []
