"""OHIF in headless Chromium, used as a person uses it: by what can be clicked and seen."""

from __future__ import annotations

import io
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator, Page, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # tests may run as root in a container
    "--use-gl=angle",
    "--use-angle=swiftshader",  # WebGL 2 without a GPU
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
PATIENCE_MS = 120_000.0
SIZE = (1400, 900)

NO_INTRODUCTION = "window.localStorage?.setItem('shownTours', JSON.stringify(['basicViewerTour']))"
"""A person who has used the viewer before."""

TO_SCREEN = """points => {
    const viewport = cornerstone.getRenderingEngines()[0].getViewports()[0];
    const canvas = viewport.canvas.getBoundingClientRect();
    return points.map(point => {
        const [x, y] = viewport.worldToCanvas(point);
        return [canvas.left + x, canvas.top + y];
    });
}"""
JUMP = """async instance => {
    const viewport = cornerstone.getRenderingEngines()[0].getViewports()[0];
    const index = viewport.getImageIds().findIndex(id => id.includes(`/instances/${instance}/`));
    await viewport.setImageIdIndex(index);
    viewport.render();
    return index;
}"""
DIGEST = """async address => {
    const bytes = await (await fetch(address)).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return Array.from(digest, byte => byte.toString(16).padStart(2, "0")).join("");
}"""


def eventually(check: Callable[[], bool]) -> bool:
    """Whether something is so before patience ends: what is drawn appears a little after what is said."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not (so := check()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return so


def find_chromium() -> str | None:
    """Path of the browser, or ``None`` where it is not installed."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


class OhifPage:
    """One tab with OHIF in it.

    Parameters
    ----------
    page:
        An open page of the browser.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        self.failures: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        page.on(
            "response", lambda r: self.failures.append(f"{r.status} {r.url}") if r.status >= 400 else None
        )

    def open(self, address: str) -> None:
        """Open a study and wait until its first image is there."""
        self.page.goto(address)
        self.page.locator("canvas.cornerstone-canvas").first.wait_for()

    def by_name(self, name: str) -> Locator:
        """What OHIF calls ``name`` for its own tests."""
        return self.page.locator(f"[data-cy='{name}']")

    def series(self, modality: str) -> Locator:
        """The series of a modality in the list on the left."""
        cards = self.page.locator("[data-cy^='study-browser-thumbnail']")
        label = self.page.locator("[data-cy='series-modality-label']", has_text=modality)
        return cards.filter(has=label)

    def load_segmentation(self) -> None:
        """Open the SEG on its CT and the panel that lists its segments."""
        self.series("SEG").dblclick()
        self.by_name("yes-hydrate-btn").click()
        self.by_name("panelSegmentation-btn").click()
        self.by_name("data-row").first.wait_for()

    def segment(self, label: str) -> Locator:
        """The row of a segment in that panel."""
        return self.by_name("data-row").filter(has=self.page.get_by_text(label, exact=True))

    def colour(self, label: str) -> tuple[int, ...]:
        """Red, green and blue of the dot in the row of a segment."""
        style = self.segment(label).locator("[data-cy='data-row-colorhex']").get_attribute("style") or ""
        return tuple(map(int, re.findall(r"\d+", style)))

    def hide(self, label: str) -> None:
        """Click the eye in the row of a segment."""
        self.segment(label).hover()
        self.segment(label).locator("[data-cy='data-row-visibility-toggle']").click()

    def measured(self, label: str) -> dict[str, float]:
        """What OHIF itself measures of a segment: the card that opens when the mouse is on its row."""
        self.page.mouse.move(0, 0)
        self.segment(label).hover()
        figures = self.page.get_by_text("Voxel Count", exact=True)
        # the row has a tooltip with the label, too
        card = self.page.locator("[data-radix-popper-content-wrapper]", has_text=label).filter(has=figures)
        card.wait_for()
        return {
            name: float(value)
            for name, value in re.findall(r"^([A-Z][A-Za-z ]+)\n(-?[\d.]+)", card.inner_text(), re.MULTILINE)
        }

    def document_sha256(self) -> str:
        """Of the PDF that the viewport has been given."""
        frame = self.page.locator("object[type='application/pdf']")
        frame.wait_for()
        return str(self.page.evaluate(DIGEST, frame.get_attribute("data")))

    def viewport(self) -> NDArray[np.uint8]:
        """What the viewport shows: (rows, columns, 3)."""
        box = self.by_name("viewport-grid").bounding_box()
        assert box is not None
        left, top = int(box["x"]), int(box["y"])
        return self.screenshot()[top : top + int(box["height"]), left : left + int(box["width"])]

    def coloured(self) -> float:
        """Share of the viewport that has a strong colour."""
        pixels = self.viewport().reshape(-1, 3).astype(np.int16)
        return float((pixels.max(axis=1) - pixels.min(axis=1) > 60).mean())

    def show_slice(self, sop_instance_uid: str) -> None:
        """Scroll to a slice of the CT and wait until the viewer says that it shows it."""
        index = self.page.evaluate(JUMP, sop_instance_uid)
        self.page.locator("[data-cy='viewport-overlay-bottom-right']", has_text=f"({index + 1}/").wait_for()

    def lung_window(self) -> None:
        """The lung preset of the keyboard."""
        self.page.keyboard.press("2")
        self.page.locator("[data-cy='viewport-overlay-bottom-left']", has_text="-600").wait_for()

    def pixels(self, points_mm: NDArray[np.float64]) -> NDArray[np.int16]:
        """Colours on the screen at points of the patient (n, 3) in mm: (n, 3), red, green, blue."""
        places = np.array(self.page.evaluate(TO_SCREEN, points_mm.tolist()))
        screen = self.screenshot()
        column, row = places.round().astype(int).T
        return screen[row, column].astype(np.int16)

    def screenshot(self) -> NDArray[np.uint8]:
        """The page as it looks: (rows, columns, 3)."""
        self.page.mouse.move(0, 0)
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))

    def _note(self, message: ConsoleMessage) -> None:
        self.console.append(message.text)


@contextmanager
def ohif_page(chromium: str) -> Iterator[OhifPage]:
    """A browser of its own with an empty tab."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            size = {"width": SIZE[0], "height": SIZE[1]}
            page = browser.new_page(viewport=size)  # type: ignore[arg-type]
            page.add_init_script(NO_INTRODUCTION)
            yield OhifPage(page)
        finally:
            browser.close()
