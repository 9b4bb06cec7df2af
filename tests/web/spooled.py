"""A measured series in a spool, with all its files, without a network or a model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread

from dicomnode.measure.priors import Findings
from dicomnode.priors.patient import Patient
from dicomnode.priors.search import patient_result
from dicomnode.report.record import write_measurements_json
from dicomnode.spool.browsing import Browser
from dicomnode.spool.records import NewInstance
from dicomnode.spool.spool import Spool
from dicomnode.web.doorkeeper import AccessRules, Doorkeeper
from dicomnode.web.pictures import Pictures
from dicomnode.web.series_page import SeriesPage
from dicomnode.web.series_pictures import SeriesPictures
from dicomnode.web.site import Pages, Site
from tests.report.report_cases import Case
from tests.spool.ledger_cases import Receiver


@dataclass
class Spooled:
    """The spool, the site over it, and the id of the series."""

    spool: Spool
    browser: Browser
    pictures: Pictures
    site: Site
    series_id: str
    sent: list[bytes]

    def close(self) -> None:
        self.pictures.stop()
        self.browser.close()
        self.spool.close()


def keep(spool: Spool, path: Path) -> str:
    """Keep a file as if it had been received; the id of its series."""
    dataset, content = dcmread(path), path.read_bytes()
    position = dataset.get("ImagePositionPatient")
    instance = NewInstance(
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPInstanceUID),
        str(dataset.SOPClassUID),
        str(dataset.file_meta.TransferSyntaxUID),
        hashlib.sha256(content).hexdigest(),
        "SCANNER",
        None if position is None else _along_normal(dataset.ImageOrientationPatient, position),
    )
    spool.keep(instance, [content])
    return instance.series_id


def measure(spool: Spool, case: Case) -> str:
    """Keep the slices of a case and record its results; the id of the series."""
    for one in case.volume.instances:
        series_id = keep(spool, one.path)
    spool.ledger.mark_complete(series_id, "quiet")
    claimed = spool.ledger.claim_next()
    assert claimed is not None and claimed.id == series_id
    out = spool.results_directory(series_id, claimed.generation)
    files = case.build(out)
    write_measurements_json(case.measurements, case.provenance, out / "measurements.json")
    report = next(file.path for file in files if file.kind == "sr")
    result = patient_result(report, Findings(None))
    assert result.marks == Patient.of(dcmread(report)).marks
    spool.ledger.record_results(
        series_id, claimed.generation, files, [Receiver("pacs")], patient_result=result
    )
    return series_id


def spooled(directory: Path, case: Case) -> Spooled:
    """The pages of one measured series."""
    spool = Spool(directory / "spool")
    series_id = measure(spool, case)
    browser, pictures, sent = Browser(spool.ledger.database.path), Pictures(), []

    def send(path: Path) -> str | None:
        sent.append(path.read_bytes())
        return None

    pages = Pages([("/", "Now")], has_login=False)
    routes = [
        *SeriesPage(pages, browser, spool.ledger, spool.directory, [pictures], send, 10**8).routes,
        *SeriesPictures(pages, browser, spool.directory, pictures, pictures).routes,
    ]
    site = Site(Doorkeeper(AccessRules()), pages, routes)
    return Spooled(spool, browser, pictures, site, series_id, sent)


def _along_normal(orientation: object, position: object) -> float:
    directions = np.array(orientation, float).reshape(2, 3)
    return float(np.cross(*directions) @ np.array(position, float))
