"""Serial scans of a patient: by the ledger of a node, by the PACS for a new one, and without the PACS."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.demo.node_process import AE_TITLE, NodeProcess
from dicomnode.demo.orthanc import OrthancPacs, find_orthanc, free_port
from dicomnode.demo.pacs_client import PacsClient
from dicomnode.demo.read_back import segment_masks
from dicomnode.phantom import LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.segment.segmentation import Lobe
from tests.correct.viewer import LABELS, save
from tests.dicom_network import installed
from tests.end_to_end.conftest import Hospital
from tests.end_to_end.test_correction import Study
from tests.end_to_end.test_late_slice import reports, send

DAYS = {"20240101": 40.0, "20240108": 160.0, "20240115": 80.0, "20240122": 60.0}


class Site(Hospital):
    """A hospital whose node looks for earlier results, and can be replaced by a new one."""

    def __init__(self, directory: Path) -> None:
        ports = free_port(), free_port()
        further = {
            "DicomModalities": {"node": [AE_TITLE, "127.0.0.1", ports[1]]},
            "DicomAlwaysAllowMove": True,
        }
        self.pacs = OrthancPacs(directory / "pacs", further=further)
        self.pacs.start()
        self.client = PacsClient(self.pacs.port, self.pacs.ae_title)
        self.old, self.new = (
            self._node(directory / way, port, way) for way, port in zip(("get", "move"), ports, strict=True)
        )
        self.node = self.old

    def _node(self, directory: Path, port: int, way: str) -> NodeProcess:
        node = NodeProcess(directory, self.pacs.ae_title, self.pacs.port, "cpu", quiet_seconds=1.0, port=port)
        pacs = f'ae_title = "{self.pacs.ae_title}", host = "127.0.0.1", port = {self.pacs.port}'
        with node.config_path.open("a", encoding="utf-8") as config:
            config.write(f'[priors]\nsources = ["ledger", "pacs"]\npacs = {{ {pacs}, method = "{way}" }}\n')
        return node

    def measure(self, day: str, files: dict[str, list[Path]]) -> dict[str, Any]:
        """Send the scan of a day; its measurements.json."""
        send(self, files[day])
        self.wait_for(self.series_of(day, files), "delivering", "delivered")
        status = self.series()[self.series_of(day, files)]
        directory = Path(self.dicomnode("show", status["id"])["directory"])
        record: dict[str, Any] = json.loads((directory / "measurements.json").read_text(encoding="utf-8"))
        return record

    def correct(self, day: str, files: dict[str, list[Path]], scratch: Path) -> dict[str, Any]:
        """Take half of the GGO away, as a person does it in a viewer; the measurements.json of that."""
        study = Study(self, files[day])
        (seg,) = study.objects("SEG").values()
        ggo = segment_masks(seg, study.volume)["112120", ""]
        ggo[: int(np.median(np.nonzero(ggo)[0]))] = False
        edited = save(files[day], {LABELS["ggo"]: ggo}, scratch / "edited.dcm")
        status = study.correct(edited)
        directory = Path(self.dicomnode("show", str(status["id"]))["directory"])
        record: dict[str, Any] = json.loads((directory / "measurements.json").read_text(encoding="utf-8"))
        return record

    def report(self, day: str, files: dict[str, list[Path]]) -> Dataset:
        """The only SR of a day's study at the PACS."""
        self.wait_for(self.series_of(day, files))
        (report,) = reports(self, dcmread(files[day][0]).StudyInstanceUID).values()
        return report

    @staticmethod
    def series_of(day: str, files: dict[str, list[Path]]) -> str:
        return str(dcmread(files[day][0]).SeriesInstanceUID)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """One chest on four days, with a lesion that grows and shrinks again."""
    folder, written = tmp_path_factory.mktemp("ct"), {}
    for day, lesion_ml in DAYS.items():
        lesions = (LesionSpec("ggo", lesion_ml, Lobe.RIGHT_LOWER),)
        phantom = build_phantom(PhantomSpec.whole_lung((60, 96, 96), seed=3, lesions=lesions))
        written[day] = write_series(phantom, folder / day, study_date=day, patient_id="SERIAL-7")
    return written


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if find_orthanc() is None:
        pytest.skip("Orthanc is not installed")
    installed("storescu")
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    for node in (site.old, site.new):
        node.stop()
    site.pacs.stop()


def compared(record: dict[str, Any]) -> list[tuple[str, int, str]]:
    return [(prior["study_date"], prior["days"], prior["found_in"]) for prior in record["prior"]]


def test_a_patient_is_followed_over_nodes_and_without_a_pacs(
    site: Site, files: dict[str, list[Path]], tmp_path: Path
) -> None:
    first, second, third, fourth = DAYS
    site.old.start()
    alone = site.measure(first, files)
    assert (alone["prior"], alone["prior_search"]["asked"]) == ([], ["ledger", "pacs"])
    assert alone["prior_search"]["flags"] == []
    site.report(first, files)

    grown = site.measure(second, files)
    assert compared(grown) == [("2024-01-01", 7, "ledger")]
    (since,) = grown["prior"]
    for name in ("lesion_volume_ml", "lesion_extent_percent", "lesion_weight_g", "ct_score"):
        assert since["change"][name] == pytest.approx(grown[name] - alone[name], abs=2e-3), name
    assert since["change"]["lesion_volume_ml"] > 60
    site.report(second, files)
    corrected = site.correct(second, files, tmp_path)
    assert compared(corrected) == [("2024-01-01", 7, "ledger")]
    assert 0 < corrected["lesion_volume_ml"] < 0.9 * grown["lesion_volume_ml"]
    assert "SERIAL-7" not in site.log()
    site.old.kill()

    site.node = site.new
    site.new.start()
    shrunk = site.measure(third, files)
    assert compared(shrunk) == [("2024-01-01", 14, "pacs"), ("2024-01-08", 7, "pacs")]
    assert shrunk["prior"][0]["change"]["lesion_volume_ml"] > 0
    last = shrunk["prior"][1]
    assert last["values"]["lesion_volume_ml"] == corrected["lesion_volume_ml"], "a person had the last word"
    assert "corrected_by_hand" in last["flags"] and "corrected_by_hand" not in shrunk["prior"][0]["flags"]
    assert shrunk["prior_search"]["flags"] == ["birth_date_unknown"], "phantoms have none"
    assert list(site.series()) == [site.series_of(third, files)], "reports that were fetched are no series"
    report = site.report(third, files)
    evidence = [study.StudyInstanceUID for study in report.PertinentOtherEvidenceSequence]
    assert evidence == [dcmread(files[day][0]).StudyInstanceUID for day in (first, second)]
    report.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    if dciodvfy := shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or shutil.which(
        "dciodvfy"
    ):
        told = subprocess.run([dciodvfy, str(tmp_path / "sr.dcm")], capture_output=True, check=False)
        assert b"Error" not in told.stderr, told.stderr

    site.pacs.stop()
    late = site.measure(fourth, files)
    assert compared(late) == [("2024-01-15", 7, "ledger")]
    assert late["prior_search"]["flags"] == ["birth_date_unknown", "pacs_failed"]
