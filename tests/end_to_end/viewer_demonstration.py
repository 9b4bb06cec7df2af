"""``dicomnode demo --viewer`` as a process of its own, and a command that takes its picture.

python -m tests.end_to_end.viewer_demonstration CT PICTURE
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydicom import dcmread

from dicomnode.assemble.assemble import assemble_series
from dicomnode.deliver.peer import Peer
from dicomnode.demo.read_back import segment_masks
from tests.end_to_end.ohif import find_chromium, ohif_page

PATIENCE_SECONDS = 300.0
LESION = ("52988006", "")
HIDDEN = ("Lungs", "Right lung", "Left lung")
"""What the lobes show already."""


@dataclass(frozen=True)
class Shown:
    """A running demonstration with a viewer."""

    address: str
    directory: Path
    node: Peer
    pacs: Peer

    @property
    def root(self) -> str:
        """Address of the list of studies."""
        return self.address.partition("viewer?")[0]


@contextmanager
def running_demonstration(ct: Path, out: Path) -> Iterator[Shown]:
    """Started, its address read from what it prints, at the end interrupted as by Ctrl-C."""
    command = [sys.executable, "-m", "dicomnode.cli", "demo", "--viewer", "--ct", str(ct), "--out", str(out)]
    with (out / "said").open("w") as said:
        process = subprocess.Popen([*command, "--device", "cpu"], stdout=said, stderr=said, text=True)
    try:
        text = _wait_for_address(process, out / "said")
        ports = dict(re.findall(r"AE title (\w+), port (\d+)", text))
        node, pacs = (Peer(name, "127.0.0.1", int(ports[name])) for name in ("DICOMNODE", "PACS"))
        (address,) = re.findall(r"viewer: (\S+)", text)
        yield Shown(address, out / "demo", node, pacs)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 0, (out / "said").read_text(encoding="utf-8")


def _wait_for_address(process: subprocess.Popen[str], said: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "Ctrl-C" not in (text := said.read_text(encoding="utf-8")):
        assert process.poll() is None and time.monotonic() < deadline, text
        time.sleep(0.2)
    return text


def take_picture(ct: Path, picture: Path, chromium: str) -> None:
    """The slice with most lesion, all segments listed, as OHIF shows them."""
    volume = assemble_series(sorted(ct.glob("*.dcm")))
    with (
        tempfile.TemporaryDirectory() as folder,
        running_demonstration(ct, Path(folder)) as shown,
        ohif_page(chromium) as page,
    ):
        masks = segment_masks(dcmread(shown.directory / "from_pacs_seg.dcm"), volume)
        page.open(shown.address)
        page.load_segmentation()
        page.lung_window()
        page.show_slice(volume.instances[int(masks[LESION].sum(axis=(1, 2)).argmax())].sop_instance_uid)
        for label in HIDDEN:
            page.hide(label)
        Image.fromarray(page.screenshot()).save(picture, optimize=True)


if __name__ == "__main__":
    browser = find_chromium()
    if browser is None:
        sys.exit("chromium is not installed: make peers")
    take_picture(Path(sys.argv[1]), Path(sys.argv[2]), browser)
