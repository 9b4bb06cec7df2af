"""The page of a series against the files that it is made of."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dicomnode.report.lobe_map import EXTENT_RGB as REPORT_RGB
from dicomnode.report.lobe_map import extent_colour as report_colour
from dicomnode.report.segments import EFFUSION, FINDINGS, LOBES
from dicomnode.segment.segmentation import Label
from dicomnode.web import palette
from dicomnode.web.lung_drawing import draw_lungs
from dicomnode.web.series_files import key_slices
from tests.conftest import REPOSITORY
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct
from tests.web.asking import ask, text_of
from tests.web.spooled import Spooled, spooled

SHAPE = (20, 35, 43)
"""35 times 43 is no multiple of 8: frames of the SEG begin within bytes."""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    hu, labels, sides = thorax(SHAPE)
    source = tmp_path_factory.mktemp("case")
    return make_case(write_ct(source, hu, axial_affine(SHAPE)), labels, sides)


@pytest.fixture(scope="module")
def page(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spooled]:
    page = spooled(tmp_path_factory.mktemp("spooled"), case)
    yield page
    page.close()


def picture(page: Spooled, place: str) -> NDArray[np.uint8]:
    response = ask(page.site, f"/series/{page.series_id}/{place}")
    assert response.status == 200, response.body
    assert response.content_type == "image/png"
    image = Image.open(io.BytesIO(response.body))
    return np.asarray(image if image.mode == "L" else image.convert("RGBA"))


def test_the_page_says_what_the_ledger_and_the_measurements_say(page: Spooled, case: Case) -> None:
    text = text_of(page.site, f"/series/{page.series_id}")
    details = page.spool.ledger.show(page.series_id)
    for event in details.events:
        assert event.text in text
    for result in details.results:
        assert f'title="{result.sop_instance_uid}"' in text
    numbers = json.loads(ask(page.site, f"/series/{page.series_id}/measurements.json").body)
    assert f"{numbers['lesion_volume_ml']:,.0f}".replace(",", "\u2009") in text
    assert f"{numbers['lesion_extent_percent']:.1f}" in text
    assert "SCANNER" in text
    for identifier in ("Doe", "PAT-1", "ACC1", "19600101"):
        assert identifier not in text


def test_every_slice_is_in_its_window_from_the_head_down(page: Spooled, case: Case) -> None:
    index = json.loads(ask(page.site, f"/series/{page.series_id}/slices").body)
    assert len(index["slices"]) == SHAPE[0]
    assert [one["mm"] for one in index["slices"]] == sorted((o["mm"] for o in index["slices"]), reverse=True)
    for number in range(0, SHAPE[0], 5):
        hu = case.volume.hu[SHAPE[0] - 1 - number].astype(float)
        for window, (center, width) in palette.WINDOWS.items():
            grey = np.clip((hu - center + width / 2) * 255 / width, 0, 255)
            assert np.abs(picture(page, f"slice/{number}/{window}.png") - grey).max() < 1.01


def test_the_overlay_lies_on_the_lesion(page: Spooled, case: Case) -> None:
    labels = case.segmentation.labels
    seen = 0
    for number in range(SHAPE[0]):
        here = labels[SHAPE[0] - 1 - number]
        overlay = picture(page, f"overlay/{number}/findings.png")
        assert np.array_equal(overlay[..., 3] > 0, here >= Label.GROUND_GLASS)
        for label, (_, colour) in zip(
            (Label.GROUND_GLASS, Label.CONSOLIDATION), palette.FINDINGS, strict=False
        ):
            assert (overlay[here == label] == colour).all()
            seen += int((here == label).sum())
    assert seen == (labels >= Label.GROUND_GLASS).sum() > 0


def test_areas_and_key_slices_are_those_of_the_masks(page: Spooled, case: Case) -> None:
    index = json.loads(ask(page.site, f"/series/{page.series_id}/slices").body)
    pixel = 7.5 * 8.0
    for name, label in (("ggo", Label.GROUND_GLASS), ("consolidation", Label.CONSOLIDATION)):
        areas = (case.segmentation.labels == label).sum(axis=(1, 2))[::-1] * pixel
        assert [one[name] for one in index["slices"]] == pytest.approx(areas)
    lesion = [one["ggo"] + one["consolidation"] for one in index["slices"]]
    assert lesion[index["key"][0]] > 0
    assert index["key"] == key_slices(lesion)


def test_lobes_have_the_colour_of_their_side_where_there_are_none(page: Spooled, case: Case) -> None:
    extents = case.measurements.to_json()["sides"]
    overlay = picture(page, "overlay/10/lobes.png")
    sides = case.segmentation.sides[SHAPE[0] - 11]
    for number, name in ((1, "right"), (2, "left")):
        colour = palette.extent_colour(extents[name]["lesion_extent_percent"])
        assert (overlay[sides == number] == (*colour, palette.LOBE_ALPHA)).all()
    assert (overlay[sides == 0, 3] == 0).all()


def test_the_histogram_has_the_distance_of_the_measurements(page: Spooled) -> None:
    text = text_of(page.site, f"/series/{page.series_id}/histogram")
    numbers = json.loads(ask(page.site, f"/series/{page.series_id}/measurements.json").body)
    assert f"Hellinger distance {numbers['hellinger_distance']:.3f}" in text


@pytest.mark.parametrize(
    "place",
    [
        "slice/20/lung.png",
        "slice/-1/lung.png",
        "slice/1/bone.png",
        "slice/x/lung.png",
        "overlay/1/all.png",
        "overlay/99999999999/findings.png",
    ],
)
def test_there_is_no_other_picture(page: Spooled, place: str) -> None:
    assert ask(page.site, f"/series/{page.series_id}/{place}").status == 404


def test_an_unknown_series_is_a_sentence(page: Spooled) -> None:
    response = ask(page.site, "/series/ffffffffffff")
    assert response.status == 404
    assert "no series" in response.body.decode()


def test_slices_that_were_stored_mirrored_are_shown_as_seen_from_the_feet(tmp_path: Path) -> None:
    hu, labels, sides = thorax(SHAPE)
    affine = axial_affine(SHAPE) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    page = spooled(tmp_path, make_case(write_ct(tmp_path / "ct", hu, affine), labels, sides))
    try:
        number = 8  # positions along the normal grow to the head here, too
        turned = labels[SHAPE[0] - 1 - number, ::-1, ::-1]
        overlay = picture(page, f"overlay/{number}/findings.png")
        assert np.array_equal(overlay[..., 3] > 0, turned >= 2)
        grey = picture(page, f"slice/{number}/lung.png")
        assert (grey[turned == 1].max(), grey[turned == 0].min()) == (85, 236)
    finally:
        page.close()


def test_purged_images_are_said_to_be_gone(case: Case, tmp_path: Path) -> None:
    page = spooled(tmp_path, case)
    try:
        for delivery in page.spool.ledger.show(page.series_id).deliveries:
            page.spool.ledger.outbox.succeeded(delivery)
        page.spool.purge(page.series_id)
        text = text_of(page.site, f"/series/{page.series_id}")
        assert "The images were purged; the measurements stayed." in text
        assert 'id="viewer"' not in text
        assert "Lesion volume" in text
        gone = ask(page.site, f"/series/{page.series_id}/slices")
        assert (gone.status, b"were purged" in gone.body) == (422, True)
    finally:
        page.close()


def test_a_damaged_segmentation_and_a_dead_process_are_sentences(case: Case, tmp_path: Path) -> None:
    page = spooled(tmp_path, case)
    try:
        seg = next(page.spool.directory.rglob("seg.dcm"))
        whole = seg.read_bytes()
        for damaged in (b"", whole[:3000], whole[: len(whole) - 20_000], b"\0" * 5000):
            seg.write_bytes(damaged)
            page.pictures._cache.clear()
            page.pictures._process and page.pictures._process.kill()
            answer = ask(page.site, f"/series/{page.series_id}/slices", accept="text/plain")
            assert answer.status == 422, damaged[:10]
            assert b"Doe" not in answer.body
        seg.write_bytes(whole)
        assert ask(page.site, f"/series/{page.series_id}/slices").status == 200
    finally:
        page.close()


def test_a_process_that_has_ended_is_replaced(page: Spooled) -> None:
    place = f"/series/{page.series_id}/slice/3/lung.png"
    for _ in range(3):
        page.pictures._cache.clear()
        assert ask(page.site, place).status == 200
        process = page.pictures._process
        assert process is not None
        process.kill()  # whether it is dead by the next request, nobody knows


def test_pictures_are_drawn_under_the_rules_of_the_systemd_unit(case: Case) -> None:
    """The unit forbids to set priorities and limits; the process must do without."""
    if find_library("seccomp") is None:
        pytest.skip("libseccomp is not installed")
    request = {"draw": "slice", "path": str(case.volume.instances[3].path), "window": [-600, 1500]}
    unit = REPOSITORY / "systemd" / "dicomnode.service"
    worker = [sys.executable, "-m", "dicomnode.web.picture_worker"]
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "sandbox.py"), str(unit), *worker],
        input=json.dumps(request).encode() + b"\n",
        capture_output=True,
        timeout=120,
        check=True,
    )
    facts, _, picture = done.stdout.partition(b"\n")
    assert json.loads(facts) == {"bytes": len(picture)}
    assert picture.startswith(b"\x89PNG")


def test_retry_is_a_button_where_there_is_something_to_retry(case: Case, tmp_path: Path) -> None:
    page = spooled(tmp_path, case)
    try:
        ledger, place = page.spool.ledger, f"/series/{page.series_id}"
        ledger.fail(page.series_id, 1, "analysis_failed", "it <fell>")
        text = text_of(page.site, place)
        assert "it &lt;fell&gt;" in text
        assert re.search(r'action="[^"]+/retry"', text)
        foreign = ask(page.site, f"{place}/retry", "POST", **{"sec-fetch-site": "cross-site"})
        assert foreign.status == 403
        assert ledger.show(page.series_id).series.state == "failed"
        done = ask(page.site, f"{place}/retry", "POST")
        assert (done.status, done.headers["Location"]) == (303, place)
        assert ledger.show(page.series_id).series.state == "complete"
        again = ask(page.site, f"{place}/retry", "POST")
        assert (again.status, b"is complete" in again.body) == (409, True)
        assert "/retry" not in text_of(page.site, place)
        assert ask(page.site, f"{place}/retry").status == 405
    finally:
        page.close()


def test_a_correction_is_taken_if_it_was_drawn_on_the_series(
    page: Spooled, case: Case, tmp_path: Path
) -> None:
    place = f"/series/{page.series_id}/correction"
    seg = next(page.spool.directory.rglob("seg.dcm")).read_bytes()
    ct = case.volume.instances[0].path.read_bytes()
    for content, words in ((b"nonsense", b"no DICOM file"), (ct, b"no DICOM Segmentation")):
        refused = ask(page.site, place, "POST", content, accept="text/plain")
        assert (refused.status, words in refused.body) == (422, True), refused.body
    other = seg.replace(b"1.2.826.0.1.3680043.8.498.3\0", b"1.2.826.0.1.3680043.8.498.9\0")
    refused = ask(page.site, place, "POST", other, accept="text/plain")
    assert b"drawn on another series" in refused.body
    assert page.sent == []
    taken = ask(page.site, place, "POST", seg)
    assert taken.status == 200, taken.body
    assert re.fullmatch(rb"/series/[0-9a-f]{16}", taken.body)
    assert page.sent == [seg]
    assert not list((page.spool.directory / "incoming").iterdir()), "nothing is left behind"


def test_key_slices_are_apart_and_never_none() -> None:
    areas = [0.0, 5, 6, 5, 0, 0, 0, 0, 9, 9, 0, 0, 0, 0, 0, 1] + [0.0] * 32
    assert key_slices(areas) == [2, 8, 15]
    assert key_slices([0.0] * 9) == [4]
    assert key_slices([]) == []


def test_colours_and_names_are_those_of_the_report() -> None:
    assert palette.EXTENT_RGB == REPORT_RGB
    for percent in (-1, 0, 2.5, 5, 17, 25, 49, 60, 75, 99):
        assert palette.extent_colour(percent) == report_colour(percent)
    ours = {label: rgba[:3] for label, rgba in palette.FINDINGS}
    assert ours == {one.label: one.rgb for one in (*FINDINGS[1:], EFFUSION)}
    assert {one.key: one.label for one in LOBES} == palette.LOBES


def test_the_drawing_tells_each_lobe() -> None:
    extents = {name: 10.0 * number for number, name in enumerate(palette.LOBES)}
    drawing = draw_lungs(extents)
    for name, extent in extents.items():
        assert f"{palette.LOBES[name]} {extent:.1f} %" in drawing
        assert palette.hexadecimal(palette.extent_colour(extent)) in drawing
    assert "Right lung 3.0 %, Left lung 4.0 %" in draw_lungs({"right": 3.0, "left": 4.0})
    assert draw_lungs({"right": 3.0}) == ""
