"""Validators of others as functions: what they say of files, without what differs from file to file."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

PIXELMED = Path("/usr/share/java/pixelmed.jar")
NO_LIMITS = ("TotalOp", "ExprOp", "ExprGrp")
"""Java's limits of XPath, which the rules of TID 1500 exceed."""


def find(name: str) -> str | None:
    """A command that is installed beside this Python or on the path."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def dciodvfy(path: Path) -> set[str]:
    """Errors and warnings of dicom3tools, attributes without item numbers."""
    said = _run(find("dciodvfy"), "-new", path)
    assert said.strip(), path
    return {_without_items(line) for line in said.splitlines() if line.startswith(("Error", "Warning"))}


def dcentvfy(paths: Iterable[Path]) -> set[str]:
    """What dicom3tools finds when it compares patient, study and series of several files."""
    said = _run(find("dcentvfy"), *paths)
    return {re.sub(r" for file <.*| = <.*", "", line) for line in said.splitlines() if line.strip()}


def pixelmed(path: Path) -> set[str]:
    """Errors and warnings of PixelMed's validator of templates, without item numbers."""
    limits = [f"-Djdk.xml.xpath{name}Limit=0" for name in NO_LIMITS]
    command = [
        "-Xmx3g",
        "-XX:+UseSerialGC",
        *limits,
        "-cp",
        PIXELMED,
        "com.pixelmed.validate.DicomSRValidator",
    ]
    said = _run(find("java"), *command, path)
    assert "IOD validation complete" in said, said
    lines = (line for line in said.splitlines() if line.startswith(("Error", "Warning")))
    return {re.sub(r"^(\w+): [\d.]+: ", r"\1: ", line) for line in lines}


def dcmtk(program: str, path: Path) -> list[str]:
    """Errors and warnings of a program of dcmtk that reads a file."""
    done = subprocess.run([find(program) or program, path], capture_output=True, check=False)
    told = done.stderr.decode("utf-8", "replace").splitlines()
    return [line for line in told if line.startswith(("E:", "W:", "F:"))] or (
        [] if done.returncode == 0 else told
    )


def _run(command: str | None, *arguments: object) -> str:
    assert command is not None
    parts: Sequence[str] = [command, *map(str, arguments)]
    done = subprocess.run(parts, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _without_items(line: str) -> str:
    return re.sub(r"\[\d+\]", "", line)
