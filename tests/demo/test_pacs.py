"""The demonstration's PACS, small or Orthanc, seen from outside."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from dicomnode.demo.orthanc import OrthancPacs, find_orthanc
from dicomnode.demo.pacs import SmallPacs
from dicomnode.demo.pacs_client import PacsClient


@pytest.fixture(params=["small", "orthanc"])
def pacs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallPacs | OrthancPacs]:
    """Each PACS that the demonstration can use."""
    if request.param == "orthanc" and find_orthanc() is None:
        pytest.skip("Orthanc is not installed")
    pacs = OrthancPacs(tmp_path) if request.param == "orthanc" else SmallPacs(tmp_path)
    pacs.start()
    yield pacs
    pacs.stop()


@pytest.fixture
def ct_files(data_dir: Path) -> list[Path]:
    """Three slices of a real chest CT."""
    return sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))[:3]


def test_what_storescu_stores_is_found_and_fetched(
    pacs: SmallPacs | OrthancPacs, ct_files: list[Path]
) -> None:
    target = ["-aec", pacs.ae_title, "127.0.0.1", str(pacs.port)]
    subprocess.run(["echoscu", *target], check=True)
    subprocess.run(["storescu", *target, *map(str, ct_files)], check=True)
    sent = [dcmread(path) for path in ct_files]
    client = PacsClient(pacs.port, pacs.ae_title)

    series = client.find_series(sent[0].StudyInstanceUID)
    received = client.get_series(sent[0].StudyInstanceUID, series[0].series_instance_uid)

    assert [(s.series_instance_uid, s.modality) for s in series] == [(sent[0].SeriesInstanceUID, "CT")]
    pixels = {dataset.SOPInstanceUID: dataset.PixelData for dataset in received}
    assert pixels == {dataset.SOPInstanceUID: dataset.PixelData for dataset in sent}


def test_an_unknown_study_has_no_series(pacs: SmallPacs | OrthancPacs) -> None:
    assert PacsClient(pacs.port, pacs.ae_title).find_series(generate_uid()) == []


def test_small_pacs_commits_what_it_has_and_names_what_it_lacks(tmp_path: Path, ct_files: list[Path]) -> None:
    pacs = SmallPacs(tmp_path)
    pacs.start()
    subprocess.run(
        ["storescu", "-aec", "PACS", "127.0.0.1", str(pacs.port), *map(str, ct_files[:2])], check=True
    )
    answered = threading.Event()
    reports: list[tuple[int, Dataset]] = []

    def note(event: evt.Event) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information))
        answered.set()
        return 0x0000, None

    request = Dataset()
    request.TransactionUID = generate_uid()
    request.ReferencedSOPSequence = []
    for path in ct_files:
        header, item = dcmread(path, stop_before_pixels=True), Dataset()
        item.ReferencedSOPClassUID = header.SOPClassUID
        item.ReferencedSOPInstanceUID = header.SOPInstanceUID
        request.ReferencedSOPSequence.append(item)
    ae = AE("NODE")
    ae.add_requested_context(StorageCommitmentPushModel)
    association = ae.associate("127.0.0.1", pacs.port, evt_handlers=[(evt.EVT_N_EVENT_REPORT, note)])
    status, _ = association.send_n_action(
        request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert answered.wait(10)
    association.release()
    pacs.stop()

    event_type, report = reports[0]
    assert status.Status == 0x0000
    assert event_type == 2
    assert len(report.ReferencedSOPSequence) == 2
    failed = report.FailedSOPSequence[0]
    assert failed.ReferencedSOPInstanceUID == dcmread(ct_files[2], stop_before_pixels=True).SOPInstanceUID
    assert failed.FailureReason == 0x0112
