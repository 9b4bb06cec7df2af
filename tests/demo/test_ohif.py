"""The viewer's distribution: only the file that was published is taken, and it is fetched once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.demo import ohif


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm that brings another file and notes that it was asked; an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\necho $@ >> {asked}\necho something else > ohif-app.tgz\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return asked


def test_another_file_than_the_published_one_is_not_unpacked(npm: Path) -> None:
    with pytest.raises(ohif.OhifError, match="SHA-512"):
        ohif.fetch_ohif()
    assert npm.read_text().strip() == f"pack --silent @ohif/app@{ohif.VERSION}"
    assert ohif.find_ohif() is None
    assert list(ohif.cache_directory().parent.iterdir()) == []


def test_what_is_there_is_not_fetched_again(npm: Path) -> None:
    dist = ohif.cache_directory() / "dist"
    dist.mkdir(parents=True)
    (dist / "index.html").write_text("the application")
    assert ohif.fetch_ohif() == dist
    assert not npm.exists()
