"""Pictures of the page for the documents, taken from a running node.

    python -m benchmarks.screenshots [--ct DIR] [--out docs/images]

Starts a node with its page and a small PACS in a temporary folder, sends four scans of a phantom patient
whose lesion grows and shrinks, a series with a gap, and the CT in DIR (a phantom without it); takes the
pictures with Chromium and writes page_now.png, page_series.png and page_course.png, each below 300 kB.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from dicomnode.assemble.series import find_series
from dicomnode.deliver.sender import send_files
from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.orthanc import free_port
from dicomnode.demo.pacs import SmallPacs
from dicomnode.demo.phantom_ct import write_phantom_ct
from dicomnode.phantom import LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.segment.segmentation import Lobe
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from dicomnode.spool.states import SeriesState

SCANS = {"20240103": 60.0, "20240110": 190.0, "20240117": 130.0, "20240131": 40.0}
"""Lesion in mL by study date."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1400, 1000)
MAXIMUM_BYTES = 300_000
PATIENCE_SECONDS = 900.0
ENDED = (SeriesState.DELIVERED, SeriesState.REFUSED, SeriesState.FAILED)


class Ward:
    """A node with a page, its PACS, and what was sent."""

    def __init__(self, directory: Path) -> None:
        self.pacs = SmallPacs(directory / "pacs")
        self.pacs.start()
        web_port = free_port()
        os.environ["DICOMNODE_WEB__PORT"] = str(web_port)
        self.root = f"http://127.0.0.1:{web_port}"
        self.node = NodeProcess(
            directory / "node", self.pacs.ae_title, self.pacs.port, "cpu", quiet_seconds=1.0
        )
        self.node.start()
        self.ledger = Ledger(self.node.spool_directory / LEDGER_NAME)

    def send(self, files: Sequence[Path]) -> str:
        """Send a series; its id."""
        known = {series.id for series in self.ledger.list_series()}
        failed = [one for one in send_files(files, self.node.peer) if not one.ok]
        if failed:
            raise SystemExit(f"the node did not take the series: {failed[0].error}")
        return next(series.id for series in self.ledger.list_series() if series.id not in known)

    def wait(self, series_id: str, *states: SeriesState) -> None:
        """Until the series is in one of the states."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (state := self.ledger.show(series_id).series.state) not in states:
            if state is SeriesState.FAILED or time.monotonic() > deadline:
                raise SystemExit(f"series {series_id} is {state}; see {self.node.log_path}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End both."""
        self.ledger.close()
        self.node.stop()
        self.pacs.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--ct", type=Path, help="folder with a chest CT; a phantom without it")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    chosen = parser.parse_args(arguments)
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if chromium is None:
        raise SystemExit("Chromium is not installed")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        ward = Ward(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
            take_pictures(ward, page, chosen.ct or phantom(Path(folder) / "ct"), Path(folder), chosen.out)
        finally:
            browser.close()
            ward.stop()


def phantom(folder: Path) -> Path:
    """A phantom chest with pneumonia."""
    write_phantom_ct(folder, lambda _stage, _fraction: None)
    return folder


def take_pictures(ward: Ward, page: Page, ct: Path, scratch: Path, out: Path) -> None:
    """From the first series to the last picture."""
    out.mkdir(parents=True, exist_ok=True)
    scans = []
    for day, lesion_ml in SCANS.items():
        spec = PhantomSpec.whole_lung(
            (60, 96, 96), seed=3, lesions=(LesionSpec("ggo", lesion_ml, Lobe.RIGHT_LOWER),)
        )
        files = write_series(build_phantom(spec), scratch / day, study_date=day, patient_id="SERIAL-7")
        scans.append(ward.send(files))
        ward.wait(scans[-1], *ENDED)
    gap = write_series(build_phantom(PhantomSpec.whole_lung((60, 96, 96), seed=5)), scratch / "gap")
    ward.wait(ward.send([*gap[:30], *gap[31:]]), *ENDED)
    series = max(find_series(ct), key=lambda found: len(found.paths))
    measured = ward.send(series.paths)
    ward.wait(measured, SeriesState.ANALYZING, *ENDED)
    page.goto(f"{ward.root}/")
    page.locator("td .said", has_text="lesions").first.wait_for(timeout=PATIENCE_SECONDS * 1000)
    save(page, out / "page_now.png")
    ward.wait(measured, *ENDED)

    page.emulate_media(color_scheme="dark")
    page.goto(f"{ward.root}/series/{measured}")
    page.locator("#slice[data-shown]").wait_for(timeout=PATIENCE_SECONDS * 1000)
    page.locator("#histogram svg").wait_for(timeout=PATIENCE_SECONDS * 1000)
    save(page, out / "page_series.png")

    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": SIZE[0], "height": 880})
    page.goto(f"{ward.root}/course/{scans[-1]}")
    save(page, out / "page_course.png")


def save(page: Page, path: Path) -> None:
    """A screenshot in a palette, which is a third of the size."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    if size > MAXIMUM_BYTES:
        raise SystemExit(f"{path} has {size} bytes, more than {MAXIMUM_BYTES}")
    print(f"{path}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
