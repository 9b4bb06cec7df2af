"""What a radiologist sees of the answer: OHIF in Chromium, as ``demo --viewer`` starts it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom import dcmread
from scipy import ndimage

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.volume import Volume
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.sender import send_files
from dicomnode.demo.ohif import find_ohif
from dicomnode.demo.orthanc import DICOMWEB_PLUGIN, find_orthanc
from dicomnode.demo.read_back import reported_values, segment_masks
from dicomnode.report.segments import FINDINGS, LOBES, LUNGS
from tests.end_to_end.ohif import OhifPage, eventually, find_chromium, ohif_page
from tests.end_to_end.viewer_demonstration import PATIENCE_SECONDS, Shown, running_demonstration

EVERY = 3
"""Of RICORD's slices; 3.75 mm apart they are still no gap."""

LESION, LUNG = ("52988006", ""), ("39607008", "51440002")
GGO, CONSOLIDATION = ("112120", ""), ("95436008", "")


@pytest.fixture(scope="module")
def ct(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patient with COVID-19, every third slice."""
    folder = tmp_path_factory.mktemp("ct")
    paths = list((data_dir / "ricord_covid_chest").glob("*.dcm"))
    paths.sort(key=lambda path: float(dcmread(path, stop_before_pixels=True).ImagePositionPatient[2]))
    for path in paths[::EVERY]:
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def shown(ct: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """What ``make viewer`` starts."""
    if find_ohif() is None:
        pytest.skip("OHIF was not fetched: python -m dicomnode.demo.ohif")
    if find_chromium() is None:
        pytest.skip("chromium is not installed")
    if find_orthanc() is None or not DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc with DICOMweb is not installed")
    with running_demonstration(ct, tmp_path_factory.mktemp("viewer")) as running:
        yield running


def wait_for_series(shown: Shown, study: str, modality: str) -> None:
    """Until the PACS lists it by DICOMweb, through the viewer's server."""
    series = f"{shown.root}dicom-web/studies/{study}/series?Modality={modality}"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not httpx.get(series).json():
        assert time.monotonic() < deadline, series
        time.sleep(0.2)


@pytest.fixture(scope="module")
def ohif(shown: Shown) -> Iterator[OhifPage]:
    """The study opened, as the printed address opens it."""
    with ohif_page(find_chromium() or "") as page:
        page.open(shown.address)
        yield page


@pytest.fixture(scope="module")
def volume(ct: Path) -> Volume:
    return assemble_series(sorted(ct.glob("*.dcm")))


@pytest.fixture(scope="module")
def masks(shown: Shown, volume: Volume) -> dict[tuple[str, str], NDArray[np.bool_]]:
    return segment_masks(dcmread(shown.directory / "from_pacs_seg.dcm"), volume)


@pytest.fixture(scope="module")
def segments(ohif: OhifPage) -> OhifPage:
    """The SEG loaded, the lung window chosen."""
    ohif.load_segmentation()
    ohif.lung_window()
    return ohif


def test_the_study_has_a_series_of_every_kind(ohif: OhifPage) -> None:
    for modality in ("CT", "SEG", "SR", "OT", "DOC"):
        assert ohif.series(modality).count() >= 1, modality


def test_every_segment_is_listed_by_its_name_and_colour(segments: OhifPage, shown: Shown) -> None:
    seg = dcmread(shown.directory / "from_pacs_seg.dcm")
    assert len(seg.SegmentSequence) == 11
    colours = {segment.label: segment.rgb for segment in (*LUNGS, *LOBES, *FINDINGS)}
    for label in (str(segment.SegmentLabel) for segment in seg.SegmentSequence):
        assert segments.segment(label).count() == 1, label
        assert segments.colour(label) == pytest.approx(colours[label], abs=2), label


@pytest.mark.parametrize("kind", [GGO, CONSOLIDATION])
def test_a_lesion_has_its_colour_where_it_lies(
    segments: OhifPage, masks: dict[tuple[str, str], NDArray[np.bool_]], volume: Volume, kind: tuple[str, str]
) -> None:
    z = int(masks[kind].sum(axis=(1, 2)).argmax())
    segments.show_slice(volume.instances[z].sop_instance_uid)
    beside = ~ndimage.binary_dilation(masks[LUNG][z], iterations=6) & (volume.hu[z] > -200)
    healthy = masks[LUNG][z] & ~masks[GGO][z] & ~masks[CONSOLIDATION][z]
    inside = ndimage.binary_erosion(masks[kind][z])
    colour = tint(np.array([next(s.rgb for s in FINDINGS if (s.kind.value, "") == kind)]))[0]

    def strength(mask: NDArray[np.bool_]) -> float:
        """How much of the finding's colour the pixels have, grey taken off."""
        shades = tint(segments.pixels(points_mm(mask, z, volume)))
        return float(np.median(shades @ colour / np.linalg.norm(colour)))

    assert eventually(lambda: strength(inside) > strength(healthy) + 10)
    assert np.abs(tint(segments.pixels(points_mm(beside, z, volume)))).max(axis=1).mean() < 3


def test_the_viewer_counts_the_voxels_and_the_mean_of_the_report(
    segments: OhifPage, shown: Shown, masks: dict[tuple[str, str], NDArray[np.bool_]]
) -> None:
    measured = segments.measured("Ground glass opacity")
    reported = {
        value.concept: value.value
        for value in reported_values(dcmread(shown.directory / "from_pacs_sr.dcm"))
        if (value.finding, "") == LESION
    }
    assert measured["Voxel Count"] == masks[GGO].sum()
    assert segments.measured("Lesion (GGO and consolidation)")["Mean Value"] == round(reported["112031"])


def test_the_overview_is_shown_in_colour(segments: OhifPage) -> None:
    segments.series("OT").dblclick()
    segments.page.get_by_text("dicomnode lung overview", exact=True).last.wait_for()
    assert eventually(lambda: segments.coloured() > 0.005)


def test_the_document_opens_as_the_pdf_that_the_node_made(segments: OhifPage, shown: Shown) -> None:
    segments.series("DOC").dblclick()
    made = next((shown.directory / "node" / "spool").rglob("pdf.dcm"))
    assert segments.document_sha256() == hashlib.sha256(dcmread(made).EncapsulatedDocument).hexdigest()


def test_a_report_that_points_at_segments_opens_and_shows_nothing(segments: OhifPage) -> None:
    """A limit of OHIF 3.13.2: it draws measurements with coordinates and prints no others."""
    segments.series("SR").dblclick()
    segments.page.wait_for_function("() => !cornerstone.getRenderingEngines()[0].getViewports().length")
    assert any("no SCOORD" in line for line in segments.console)
    assert not segments.viewport().reshape(-1, 3).max(axis=1).mean() > 5


def test_nothing_failed_on_the_way(segments: OhifPage) -> None:
    assert segments.failures == []


@pytest.fixture(scope="module")
def other(
    shown: Shown, segments: OhifPage, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[OhifPage, Path]:
    """A study in the PACS with the results that aren't sent by default, and a refusal; where those lie."""
    folder = tmp_path_factory.mktemp("other")
    whole, gap, results = folder / "whole", folder / "gap", folder / "results"
    paths = sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))
    for directory, members in ((whole, paths), (gap, paths[:30] + paths[31:])):
        directory.mkdir()
        for path in members:
            (directory / path.name).symlink_to(path)
    command = ["analyze", str(whole), "--out", str(results), "--format", "labelmap,overlay,ko,gsps"]
    subprocess.run([sys.executable, "-m", "dicomnode.cli", *command], check=True, capture_output=True)
    send([*whole.iterdir(), *results.rglob("*.dcm")], shown.pacs)
    send(list(gap.iterdir()), shown.node)
    study = str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
    wait_for_series(shown, study, "SR")
    segments.open(f"{shown.root}viewer?StudyInstanceUIDs={study}")
    return segments, results


def send(paths: list[Path], peer: Peer) -> None:
    assert [one for one in send_files(paths, peer) if not one.ok] == []


def test_a_label_map_is_listed_in_its_colours(other: tuple[OhifPage, Path]) -> None:
    """Readers that take the background for a segment show every colour one row off."""
    page, results = other
    page.load_segmentation()
    seg = dcmread(next(results.rglob("labelmap.dcm")), stop_before_pixels=True)
    assert page.by_name("data-row").count() == len(seg.SegmentSequence) > 5
    for segment in seg.SegmentSequence:
        colour = CIELabColor.from_dicom_value(tuple(segment.RecommendedDisplayCIELabValue)).to_rgb()
        assert page.colour(str(segment.SegmentLabel)) == pytest.approx(colour, abs=2), segment.SegmentLabel


def test_the_overlay_is_shown_in_colour(other: tuple[OhifPage, Path]) -> None:
    page, _ = other
    page.series("OT").filter(has_text="overlay").dblclick()
    page.page.get_by_text("dicomnode lung overlay", exact=True).last.wait_for()
    assert eventually(lambda: page.coloured() > 0)


def test_key_objects_and_presentation_states_are_listed_as_not_supported(
    other: tuple[OhifPage, Path],
) -> None:
    page, _ = other
    for modality in ("KO", "PR"):
        assert page.series(modality).locator("#status-warning").count() == 1


def test_a_refusal_is_read_as_text(other: tuple[OhifPage, Path]) -> None:
    page, _ = other
    page.series("SR").dblclick()
    page.page.get_by_text("CT series not measured").last.wait_for()
    said = page.by_name("viewport-grid").inner_text()
    for words in ("Reason", "gap", "What to do", "For research use only"):
        assert words in said, said


def points_mm(mask: NDArray[np.bool_], z: int, volume: Volume) -> NDArray[np.float64]:
    """At most 300 pixels of a mask of slice ``z`` as points of the patient."""
    y, x = np.nonzero(mask)
    chosen = np.linspace(0, len(y) - 1, min(300, len(y))).astype(int)
    index = np.stack([x, y, np.full_like(x, z), np.ones_like(x)]).astype(np.float64)[:, chosen]
    return (volume.affine @ index)[:3].T


def tint(colours: NDArray[np.int16]) -> NDArray[np.float64]:
    """What is left of colours (n, 3) without their grey."""
    return colours - colours.mean(axis=1, keepdims=True)
