"""What the documents claim of the code, compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.cli import COMMANDS
from dicomnode.conformance.render import render
from dicomnode.spool.states import SeriesState
from tests.conftest import REPOSITORY


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def first_column(text: str) -> set[str]:
    """Code words in the first column of all tables."""
    return {
        word
        for line in text.splitlines()
        if line.startswith("|")
        for word in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }


def test_the_conformance_statement_is_the_one_of_this_code() -> None:
    again = "the code has changed: python -m dicomnode.conformance --out docs/conformance.md"
    assert read("docs/conformance.md") == render(), again


def test_every_state_and_every_reason_is_explained() -> None:
    explained = first_column(read("docs/operations.md"))
    reserved = {SeriesState.COMMITTED.value}  # needs storage commitment
    assert {state.value for state in SeriesState} - reserved <= explained
    assert {reason.value for reason in RefusalReason} <= explained


def test_the_readme_names_every_command_and_every_picture_exists() -> None:
    text = read("README.md")
    for command in COMMANDS:
        assert command in text, command
    for document in ["README.md", *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]:
        folder = (REPOSITORY / document).parent
        for target in re.findall(r"\]\(([^)#]+)\)", read(document)):
            assert target.startswith("http") or (folder / target).exists(), f"{document}: {target}"


def test_the_measurement_names_are_defined() -> None:
    text = read("docs/measurements.md")
    source = Path(REPOSITORY / "dicomnode" / "measure" / "measurements.py").read_text(encoding="utf-8")
    for name in set(re.findall(r'"([a-z_]+_(?:ml|percent|g|hu|distance|iou))"', source)) - {
        "volume_ml",
        "mean_hu",
    }:
        assert name in text or name == "effusion_volume_ml", name


def test_every_promise_is_held_by_tests_that_exist() -> None:
    promises = [line for line in read("docs/promises.md").splitlines() if line.startswith("| ")]
    for promise in promises:
        if promise.startswith("| promise |"):
            continue
        held_by = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", promise)
        assert held_by, promise
        for file, test in held_by:
            assert f"\ndef {test}(" in read(file), f"{file}::{test}"
