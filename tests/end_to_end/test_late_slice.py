"""A slice that comes after the answer: a new answer that names the old one, and nothing sent twice."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.end_to_end.conftest import Hospital


def reports(hospital: Hospital, study: str) -> dict[str, Dataset]:
    """The SRs of a study in the PACS by SOP Instance UID."""
    found: dict[str, Dataset] = {}
    for series in hospital.client.find_series(study):
        if series.modality == "SR":
            for dataset in hospital.client.get_series(study, series.series_instance_uid):
                assert dataset.SOPInstanceUID not in found
                found[dataset.SOPInstanceUID] = dataset
    return found


def send(hospital: Hospital, files: list[Path]) -> None:
    subprocess.run(["storescu", *hospital.address, *map(str, files)], check=True)


def released(files: list[Path]) -> str:
    """The decision that these slices, one after the other, are a whole series."""
    ends = [dcmread(path, stop_before_pixels=True).ImagePositionPatient[2] for path in (files[0], files[-1])]
    return f"released, {len(files)} slices from {ends[0]:.1f} to {ends[1]:.1f} mm without a gap"


def test_a_late_slice_gets_a_new_report_that_names_its_predecessor(
    hospital: Hospital, data_dir: Path
) -> None:
    files = sorted(
        (data_dir / "cip_ct64_chest").glob("*.dcm"),
        key=lambda path: float(dcmread(path, stop_before_pixels=True).ImagePositionPatient[2]),
    )
    header = dcmread(files[0], stop_before_pixels=True)
    send(hospital, files[:-1])
    first = hospital.wait_for(header.SeriesInstanceUID)
    assert (first["state"], first["generation"]) == ("delivered", 1)
    assert first["completeness"] == released(files[:-1])
    (old,) = reports(hospital, header.StudyInstanceUID).values()
    assert "PredecessorDocumentsSequence" not in old

    send(hospital, files[-1:])
    hospital.wait_for(header.SeriesInstanceUID, "receiving", "complete", "analyzing")
    second = hospital.wait_for(header.SeriesInstanceUID)
    assert (second["state"], second["generation"]) == ("delivered", 2)
    assert second["completeness"] == released(files)

    both = reports(hospital, header.StudyInstanceUID)
    (new,) = [report for uid, report in both.items() if uid != old.SOPInstanceUID]
    (study,) = new.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (document,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == header.StudyInstanceUID
    assert series.SeriesInstanceUID == old.SeriesInstanceUID
    assert document.ReferencedSOPInstanceUID == old.SOPInstanceUID
    details = hospital.dicomnode("show", second["id"])
    assert [(one["kind"], one["state"], one["attempts"]) for one in details["deliveries"]] == [
        ("seg", "delivered", 1),
        ("sr", "delivered", 1),
        ("seg", "delivered", 1),
        ("sr", "delivered", 1),
    ]
    story = [event["text"] for event in details["events"]]
    for decided in (released(files[:-1]), "a late slice", released(files)):
        assert decided in story
