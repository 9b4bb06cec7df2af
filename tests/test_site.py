"""The documents as a site: built without a warning, complete, and drawn from the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.rooms import BESIDE, CORRIDOR, PACKAGE, draw
from tests.conftest import REPOSITORY
from tests.test_imports import CORRIDOR as ROOMS

DOCUMENTS = REPOSITORY / "docs"


def test_the_site_is_built_without_a_warning_and_asks_nobody_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img)\b[^>]*?(?:src|href)="(https?://[^"]*)"', html)
        assert not loaded, f"{page.relative_to(tmp_path)} loads {loaded}"


def test_every_document_is_in_the_table_of_contents() -> None:
    contents = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    assert {path.name for path in DOCUMENTS.glob("*.md")} == set(re.findall(r"([\w-]+\.md)", contents))


def test_the_drawing_of_the_rooms_is_that_of_this_code() -> None:
    again = "the imports have changed: python -m benchmarks.rooms --out docs/images/rooms.svg"
    assert (DOCUMENTS / "images" / "rooms.svg").read_text(encoding="utf-8") == draw(), again


def test_the_drawing_has_every_room() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"commands"}
    assert rooms <= {*CORRIDOR, *BESIDE}
    assert tuple(CORRIDOR) == ROOMS
