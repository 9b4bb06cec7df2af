"""Validators of others find no error in any object, and no warning but those that a document explains."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomnode.report.result_set import FurtherResults, ResultKind
from tests.conftest import REPOSITORY
from tests.report import validators
from tests.report.every_object import EveryObject
from tests.report.report_cases import Case

DOCUMENT = REPOSITORY / "docs" / "interoperability.md"
SR = ("sr", "refusal", "ko")


@dataclass(frozen=True)
class Explained:
    """A row of the document: what a tool says of which objects."""

    tool: str
    words: str
    objects: frozenset[str]


def explained(tool: str) -> list[Explained]:
    """The rows of a tool."""
    rows = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and cells[0] == f"`{tool}`":
            objects = frozenset(re.findall(r"`(\w+)`", cells[2]))
            rows.append(Explained(tool, cells[1].strip("`"), objects))
    return rows


def compare(tool: str, said: dict[str, Iterable[str]]) -> None:
    """Each message has a row, and each row a message of each of its objects; ``said`` by kind of object."""
    rows = explained(tool)
    found: dict[str, set[str]] = defaultdict(set)
    for kind, messages in said.items():
        for message in messages:
            assert not message.startswith(("Error", "E:", "F:")), f"{tool}, {kind}: {message}"
            words = [row.words for row in rows if row.words in message]
            assert words, f"{tool}, {kind}: not explained in {DOCUMENT.name}: {message}"
            found[words[0]].add(kind)
    assert found == {row.words: set(row.objects) for row in rows}


def by_kind(every: EveryObject, *kinds: str) -> dict[str, list[Path]]:
    """Files by kind of object; of an overlay of many files the first and the one of many frames."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in every.files().values():
        kind = re.sub(r"_\d+$", "", path.stem)
        is_another_slice = "_" in path.stem and any(other.parent == path.parent for other in found[kind])
        if not is_another_slice and (not kinds or kind in kinds):
            found[kind].append(path)
    return found


def told_by_dcmtk(program: str, files: dict[str, list[Path]]) -> dict[str, list[str]]:
    """By kind of object."""
    return {
        kind: [line for p in paths for line in validators.dcmtk(program, p)] for kind, paths in files.items()
    }


def need(name: str) -> None:
    if validators.find(name) is None:
        pytest.skip(f"{name} is not installed")


def test_every_kind_of_object_is_there(every: EveryObject) -> None:
    kinds = {kind: len(paths) for kind, paths in by_kind(every).items()}
    assert kinds == {
        "seg": 4,
        "sr": 4,
        "sc": 5,
        "refusal": 1,
        "labelmap": 3,
        "overlay": 2,
        "pdf": 2,
        "ko": 2,
        "gsps": 2,
    }


def test_dciodvfy(every: EveryObject) -> None:
    need("dciodvfy")
    files = by_kind(every).items()
    compare("dciodvfy", {kind: set().union(*map(validators.dciodvfy, paths)) for kind, paths in files})


def test_dciodvfy_of_a_real_patient(ricord: Case, tmp_path: Path) -> None:
    """What is new here is what it says of the CT, too: attributes that are copied from it."""
    need("dciodvfy")
    words = [row.words for row in explained("dciodvfy")]
    of_the_ct = validators.dciodvfy(ricord.volume.instances[0].path)
    files = ricord.build(tmp_path, further=FurtherResults(frozenset(ResultKind), multiframe=True))
    assert len(files) >= 8
    for file in files:
        if file.path.suffix == ".dcm":
            said = {
                line for line in validators.dciodvfy(file.path) if not any(word in line for word in words)
            }
            assert said <= of_the_ct, file.path.name


@pytest.mark.parametrize("folder", ["measured", "corrected", "japanese", "refused"])
def test_dcentvfy(folder: str, every: EveryObject) -> None:
    """An answer together with its source, the one that it replaces and the one that it compares with."""
    need("dcentvfy")
    folders = {"before", "measured", folder} if folder == "corrected" else {folder}
    files = [path for key, path in every.files().items() if key.partition("/")[0] in folders]
    compare("dcentvfy", {"all": validators.dcentvfy([*files, *every.sources])})


def test_dcmdump(every: EveryObject) -> None:
    need("dcmdump")
    compare("dcmdump", told_by_dcmtk("dcmdump", by_kind(every)))


def test_dsrdump(every: EveryObject) -> None:
    need("dsrdump")
    compare("dsrdump", told_by_dcmtk("dsrdump", by_kind(every, *SR)))


def test_pixelmed(every: EveryObject) -> None:
    """The templates: a report with all that one can have, the report of a refusal, the key objects."""
    need("java")
    if not validators.PIXELMED.exists():
        pytest.skip("PixelMed is not installed (Debian: libpixelmed-java)")
    names = {"sr": "corrected/sr", "refusal": "refused/refusal", "ko": "corrected/ko"}
    files = [every.files()[name] for name in names.values()]
    with ThreadPoolExecutor(max_workers=2) as two:  # each takes up to half a minute of a processor
        compare("pixelmed", dict(zip(names, two.map(validators.pixelmed, files), strict=True)))


def test_one_instance_uid_is_one_object(every: EveryObject) -> None:
    """Objects of an answer that are the same in another have its UIDs; others never."""
    contents = defaultdict(set)
    for path in every.files().values():
        contents[str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)].add(path.read_bytes())
    assert {uid: len(files) for uid, files in contents.items() if len(files) > 1} == {}
