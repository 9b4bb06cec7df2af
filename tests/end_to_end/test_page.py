"""The page as a person sees it: Chromium, logged in to a running node that has measured a patient."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import ConsoleMessage, Page, sync_playwright
from pydicom import dcmread
from scipy import ndimage

from dicomnode.deliver.sender import send_files
from dicomnode.demo.node_process import NodeProcess
from dicomnode.spool.browsing import Browser
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import SeriesDetails
from dicomnode.spool.spool import LEDGER_NAME
from tests.dicom_network import free_port, storescp, until
from tests.end_to_end.ohif import FLAGS, find_chromium

EVERY = 3
"""Of RICORD's slices; 3.75 mm apart they are still no gap."""

TOKEN = "the-token-of-the-test"
PATIENCE_SECONDS = 400
WIDTHS = (320, 390, 768, 1280, 1920, 2560)
GGO, CONSOLIDATION = "Ground glass opacity", "Consolidation"


@dataclass
class Ward:
    """A node, its ledger, and a browser."""

    node: NodeProcess
    browser: Browser
    page: Page
    root: str
    console: list[str]
    measured: str = ""
    refused: str = ""

    def show(self, place: str) -> Page:
        self.page.goto(self.root + place)
        return self.page

    def series(self, series_id: str) -> Page:
        """The page of a series, its first picture drawn."""
        page = self.show(f"/series/{series_id}")
        page.locator("#slice[data-shown]").wait_for()
        return page

    def details(self) -> SeriesDetails:
        return self.browser.show(self.measured)

    def send(self, *files: Path) -> None:
        assert [one for one in send_files(files, self.node.peer) if not one.ok] == []

    def state_of(self, series_id: str) -> str:
        return self.browser.show(series_id).series.state.value


def by_position(folder: Path) -> list[Path]:
    paths = list(folder.glob("*.dcm"))
    return sorted(
        paths, key=lambda path: float(dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])
    )


@pytest.fixture(scope="module")
def ward(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("chromium is not installed")
    directory, web_port = tmp_path_factory.mktemp("page"), free_port()
    with (
        storescp(directory) as (port, _),
        pytest.MonkeyPatch.context() as environment,
        sync_playwright() as playwright,
    ):
        environment.setenv("DICOMNODE_WEB__PORT", str(web_port))
        environment.setenv("DICOMNODE_WEB__TOKEN", TOKEN)
        environment.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "2"))
        node = NodeProcess(directory / "node", "STORESCP", port, device="cpu", quiet_seconds=1.0)
        node.start()
        ledger = Ledger(node.spool_directory / LEDGER_NAME)
        chrome = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = chrome.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        ward = Ward(node, Browser(ledger.database.path), page, f"http://127.0.0.1:{web_port}", [])
        page.on("console", lambda message: note(ward, message))
        page.on("pageerror", lambda error: ward.console.append(str(error)))
        try:
            ward.send(*by_position(data_dir / "ricord_covid_chest")[::EVERY])
            until(lambda: bool(ledger.list_series()), 30)
            ward.measured = ledger.list_series()[0].id
            log_in(ward)
            yield ward
        finally:
            ward.browser.close()
            ledger.close()
            chrome.close()
            node.stop()


def note(ward: Ward, message: ConsoleMessage) -> None:
    if message.type in ("error", "warning"):
        ward.console.append(message.text)


def log_in(ward: Ward) -> None:
    page = ward.show("/search?state=failed")
    assert page.url.startswith(f"{ward.root}/login?")
    page.get_by_label("Access token").fill("guess")
    page.get_by_role("button", name="Log in").click()
    assert "isn't the token" in page.get_by_role("alert").inner_text()
    page.get_by_label("Access token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{ward.root}/search?state=failed")
    ward.console.clear()  # of the wrong token


def test_a_series_is_seen_on_its_way_and_the_page_updates_itself(ward: Ward, data_dir: Path) -> None:
    page = ward.show("/")
    page.evaluate("window.stillTheSame = true")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=ward.measured))
    row.filter(has_text="analyzing").wait_for(timeout=60_000)
    assert page.get_by_role("progressbar", name=f"Received, {ward.measured}").get_attribute("value") == "1.0"
    ward.send(*sorted((data_dir / "refuse" / "head_ct").rglob("*.dcm")))
    until(lambda: ward.state_of(ward.measured) in ("delivered", "failed"), PATIENCE_SECONDS)
    assert ward.state_of(ward.measured) == "delivered"
    section = page.get_by_role("region", name="Delivered last", exact=True).first
    section.get_by_role("link", name=ward.measured).wait_for()
    refused = page.get_by_role("region", name="Refused and failed last", exact=True).first
    refused.locator("tbody tr").first.wait_for()
    ward.refused = refused.locator("tbody a").first.inner_text()
    series = ward.browser.show(ward.refused).series
    assert series.detail in refused.inner_text()
    assert page.evaluate("window.stillTheSame"), "it was not loaded again"


def test_the_tiles_are_the_ledgers_counts(ward: Ward) -> None:
    page, counts = ward.show("/"), ward.browser.counts()
    tiles = dict(
        zip(
            page.locator(".tiles dt").all_inner_texts(),
            page.locator(".tiles dd:not(.more)").all_inner_texts(),
            strict=True,
        )
    )
    assert tiles["Delivered"] == f"{counts['delivered']} series"  # type: ignore[index]
    assert tiles["Refused"] == f"{counts['refused']} series"  # type: ignore[index]


def test_a_series_tells_what_the_ledger_holds(ward: Ward) -> None:
    page, details = ward.series(ward.measured), ward.details()
    story = page.locator(".timeline li").all_inner_texts()
    assert len(story) == len(details.events)
    for told, event in zip(story, details.events, strict=True):
        assert event.state.value in told
        assert event.text in told
    objects = page.get_by_role("region", name="Objects and where they went").last.inner_text()
    for delivery in details.deliveries:
        assert f"{delivery.kind.upper()}" in objects
    assert objects.count("delivered") == len(details.deliveries)


def shown(page: Page) -> int:
    return int(page.locator("#slice").get_attribute("data-shown") or -1)


def go_to(page: Page, number: int) -> None:
    """Choose a slice by the slider and wait until it is drawn with its overlays."""
    page.get_by_role("slider", name="Slice, from the head down").fill(str(number + 1))
    page.locator(f"#slice[data-shown='{number}']").wait_for()


def pixels(page: Page) -> NDArray[np.int16]:
    """What the picture shows: (rows, columns, 3)."""
    page.locator("#stack").scroll_into_view_if_needed()
    image = Image.open(io.BytesIO(page.locator("#stack").screenshot())).convert("RGB")
    return np.asarray(image).astype(np.int16)


def tint(colours: NDArray[np.int16]) -> NDArray[np.float64]:
    """What is left of colours (n, 3) without their grey."""
    return colours - colours.mean(axis=1, keepdims=True)


def masks_of(ward: Ward, instance: str) -> dict[str, NDArray[np.bool_]]:
    """The masks of a slice, read by pydicom from the file that was sent."""
    seg = dcmread(next(ward.node.spool_directory.rglob(f"{ward.measured}/*/seg.dcm")))
    numbers = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    found = {}
    frames = seg.pixel_array
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        if source == instance:
            number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            found[numbers[number]] = frame.astype(bool)
    return found


def test_the_overlay_lies_on_the_lesion(ward: Ward) -> None:
    page = ward.series(ward.measured)
    number = shown(page)  # the key slice with the most lesion
    known = [one for one in ward.details().instances if one.position_mm is not None]
    instance = sorted(known, key=lambda one: -(one.position_mm or 0))[number].sop_instance_uid
    masks = masks_of(ward, instance)
    screen = pixels(page)

    def strength(mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> float:
        rows, columns = np.nonzero(mask)
        scale = np.array(screen.shape[:2]) / mask.shape
        places = screen[((rows + 0.5) * scale[0]).astype(int), ((columns + 0.5) * scale[1]).astype(int)]
        direction = tint(np.array([colour]))[0]
        return float(np.median(tint(places) @ direction / np.linalg.norm(direction)))

    lesion = masks[GGO] | masks[CONSOLIDATION]
    assert lesion.sum() > 500
    healthy = ndimage.binary_erosion(masks["Lungs"] & ~ndimage.binary_dilation(lesion, iterations=3))
    for label, colour in ((GGO, (250, 190, 60)), (CONSOLIDATION, (225, 60, 70))):
        inside = ndimage.binary_erosion(masks[label])
        assert inside.any(), label
        assert strength(inside, colour) > 30, label
        assert abs(strength(healthy, colour)) < 3

    page.get_by_label("Lesions").uncheck()
    page.locator("#findings").wait_for(state="hidden")
    assert np.abs(tint(pixels(page).reshape(-1, 3))).max() < 3, "grey without overlays"
    page.get_by_label("Lobes by involvement").check()
    page.locator("#lobes").wait_for(state="visible")
    assert np.abs(tint(pixels(page).reshape(-1, 3))).max() > 20


def test_slices_are_reached_by_keyboard_wheel_and_button(ward: Ward) -> None:
    page = ward.series(ward.measured)
    slider = page.get_by_role("slider", name="Slice, from the head down")
    count = int(slider.get_attribute("max") or 0)
    assert count == len(ward.details().instances)
    first = shown(page)
    slider.focus()
    for key, expected in (("ArrowRight", first + 1), ("ArrowLeft", first), ("Home", 0), ("End", count - 1)):
        page.keyboard.press(key)
        page.locator(f"#slice[data-shown='{expected}']").wait_for()
        assert f"Slice {expected + 1} of {count}" in (slider.get_attribute("aria-valuetext") or "")
    go_to(page, 10)
    page.locator("#stack").hover()
    page.mouse.wheel(0, 120)
    page.locator("#slice[data-shown='11']").wait_for()
    assert "Slice 12 of" in (page.locator("#slice").get_attribute("alt") or "")
    key_slice = page.get_by_role("group", name="Key slices").get_by_role("button").first
    key_slice.focus()
    page.keyboard.press("Enter")
    wanted = int(key_slice.inner_text().split(":")[0].removeprefix("Slice ")) - 1
    page.locator(f"#slice[data-shown='{wanted}']").wait_for()
    assert page.get_by_label("Lesions").is_checked()
    page.keyboard.press("o")
    assert not page.get_by_label("Lesions").is_checked()


def test_the_histogram_is_counted(ward: Ward) -> None:
    page = ward.series(ward.measured)
    page.get_by_role("img", name="Histogram of the lungs in HU").wait_for()
    said = page.locator("#histogram").inner_text()
    numbers = page.request.get(f"{ward.root}/series/{ward.measured}/measurements.json").json()
    assert f"{numbers['hellinger_distance']:.3f}" in said


def test_a_person_without_a_mouse_gets_everywhere(ward: Ward) -> None:
    page = ward.show("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for name in ("Now", "Search", "Models"):
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=name, level=1).wait_for()
        assert page.get_by_role("link", name=name).first.get_attribute("aria-current") == "page"


def test_the_page_keeps_the_focus_when_it_updates(ward: Ward) -> None:
    page = ward.show("/")
    page.locator(f"#now a[href='/series/{ward.measured}']").first.focus()
    with page.expect_response(lambda response: response.url.endswith("/now")):
        pass
    with page.expect_response(lambda response: response.url.endswith("/now")):
        pass
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"/series/{ward.measured}"


def places(ward: Ward) -> list[str]:
    series = f"/series/{ward.measured}"
    return [
        "/",
        series,
        f"/series/{ward.refused}",
        f"/course/{ward.measured}",
        "/models",
        "/search",
        "/nowhere",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(ward: Ward, scheme: str) -> None:
    ward.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    faults = []
    for place in places(ward):
        page = ward.show(place)
        if place == f"/series/{ward.measured}":
            page.get_by_role("img", name="Histogram of the lungs in HU").wait_for()
        for fault in Axe().run(page).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                nodes = [node["html"][:120] for node in fault["nodes"][:3]]
                faults.append((place, fault["id"], nodes))
    assert faults == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_at_any_width(ward: Ward, width: int) -> None:
    ward.page.set_viewport_size({"width": width, "height": 900})
    try:
        for place in places(ward):
            page = ward.show(place)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, place
    finally:
        ward.page.set_viewport_size({"width": 1280, "height": 900})


def test_the_table_is_downloaded(ward: Ward) -> None:
    page = ward.show("/search?state=delivered")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert [row["series"] for row in rows] == [ward.measured]
    assert float(rows[0]["lesion_volume_ml"]) > 0


def test_a_segmentation_goes_in_by_the_page(ward: Ward) -> None:
    """The node's own, unchanged: it is recognised, which shows that it came by the front door."""
    page = ward.series(ward.measured)
    seg = next(ward.node.spool_directory.rglob(f"{ward.measured}/*/seg.dcm"))
    page.get_by_label("Edited segmentation (DICOM SEG)").set_input_files(seg)
    page.get_by_role("button", name="Measure again").click()
    page.wait_for_url(lambda url: "/series/" in url and ward.measured not in url)
    series_id = page.url.rpartition("/")[2]
    until(lambda: ward.state_of(series_id) == "refused", 60)
    assert "unchanged_segmentation" in ward.show(f"/series/{series_id}").locator(".alarm").inner_text()


def test_a_refused_series_is_retried_by_its_button(ward: Ward) -> None:
    page = ward.show(f"/series/{ward.refused}")
    before = len(ward.browser.show(ward.refused).events)
    page.get_by_role("button", name="Retry").click()
    page.wait_for_url(f"{ward.root}/series/{ward.refused}")
    until(lambda: ward.state_of(ward.refused) == "refused", 60)
    assert len(ward.browser.show(ward.refused).events) > before


def test_the_browser_found_nothing_to_complain_about(ward: Ward) -> None:
    assert [line for line in ward.console if "/nowhere" not in line and "404" not in line] == []


def test_nobody_sees_anything_after_logging_out(ward: Ward) -> None:
    page = ward.show("/")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{ward.root}/login")
    assert ward.show(f"/series/{ward.measured}").url.startswith(f"{ward.root}/login")
