"""The OHIF viewer: its published distribution, fetched once, checked and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

VERSION = "3.13.2"
TARBALL = f"https://registry.npmjs.org/@ohif/app/-/app-{VERSION}.tgz"
SHA512 = (
    "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3deea3e06e1f8c48e393271933a0ba664d85"
    "f3b04ac457e9abe8dde715d907d13c10"
)
NOT_NEEDED = ("dist/ort/", "dist/dicom-microscopy-viewer/")
"""ONNX runtimes for segmenting in the browser, and slides: three quarters of the size."""


class OhifError(Exception):
    """The viewer could not be fetched; the message says why."""


def cache_directory() -> Path:
    """Where the distribution is kept (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dicomnode" / f"ohif-{VERSION}"


def find_ohif() -> Path | None:
    """Folder of the distribution with its ``index.html``, or ``None`` if it was not fetched."""
    dist = cache_directory() / "dist"
    return dist if (dist / "index.html").is_file() else None


def fetch_ohif() -> Path:
    """The distribution's folder; fetched by npm where there is one, else from npm's registry directly.

    Raises
    ------
    OhifError
        If it can't be fetched or isn't the file that was published.
    """
    found = find_ohif()
    if found:
        return found
    target = cache_directory()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        tarball = _download(Path(folder))
        if hashlib.sha512(tarball.read_bytes()).hexdigest() != SHA512:
            raise OhifError(f"{TARBALL} is not the file that was published: its SHA-512 differs")
        unpacked = Path(folder) / "package"
        with tarfile.open(tarball) as archive:
            wanted = [m for m in archive if not m.name.startswith(tuple(f"package/{n}" for n in NOT_NEEDED))]
            archive.extractall(folder, wanted, filter="data")
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
    return target / "dist"


def _download(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is not None:  # it knows the site's proxy and mirror
        command = [npm, "pack", "--silent", f"@ohif/app@{VERSION}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        packed = list(folder.glob("*.tgz"))
        if done.returncode == 0 and packed:
            return packed[0]
    tarball = folder / "ohif.tgz"
    try:
        with urllib.request.urlopen(TARBALL, timeout=60) as answer, tarball.open("wb") as out:
            shutil.copyfileobj(answer, out)
    except OSError as error:
        raise OhifError(f"{TARBALL} can't be fetched: {error}") from error
    return tarball


if __name__ == "__main__":
    try:
        print(f"OHIF {VERSION}: {fetch_ohif()}")
    except OhifError as failure:
        sys.exit(str(failure))
