"""The corridor: which room may import which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dicomnode

PACKAGE = Path(dicomnode.__file__).parent
CORRIDOR = ("receive", "spool", "assemble", "segment", "measure", "report", "deliver")
TYPE_MODULES = {
    "dicomnode.assemble.orientation",
    "dicomnode.assemble.refusal",
    "dicomnode.assemble.volume",
    "dicomnode.segment.confidence",
    "dicomnode.segment.segmentation",
    "dicomnode.measure.measurements",
    "dicomnode.measure.course",
    "dicomnode.measure.priors",
    "dicomnode.measure.scores",
    "dicomnode.measure.uncertainty",
    "dicomnode.report.provenance",
    "dicomnode.report.result_set",
}
"""Types that travel the corridor; a later room may import those of earlier rooms, nothing else of them."""

LEDGER_USERS = ("receive", "deliver")
"""Both ends of the corridor keep what they do in the ledger, so they use the spool itself."""

BESIDE_THE_CORRIDOR = {
    "dicomnode.storage_commitment": ("receive", "deliver"),
    "dicomnode.slice_spacing": ("receive", "assemble"),
}
"""What two rooms must say in the same words, or with the same numbers."""

FOREIGN_TO = {
    "segment": ("pydicom", "pynetdicom", "highdicom"),
    "measure": ("pydicom", "pynetdicom", "highdicom", "torch", "SimpleITK", "scipy"),
    "report": ("pynetdicom", "torch", "socket"),
    "spool": ("pynetdicom", "torch", "highdicom", "SimpleITK"),
    "assemble": ("pynetdicom", "torch", "highdicom"),
}


def modules_of(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def imported_by(path: Path) -> set[str]:
    """Modules that ``path`` imports, inside functions too; ``from package import name`` counts as both."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(str(node.module))
    return names


@pytest.mark.parametrize("room", CORRIDOR)
def test_a_room_imports_only_types_of_earlier_rooms(room: str) -> None:
    assert modules_of(room), f"the room {room} is empty"
    for path in modules_of(room):
        for name in sorted(imported_by(path)):
            if not name.startswith("dicomnode.") or f"{name}.".startswith(f"dicomnode.{room}."):
                continue
            other = name.split(".")[1]
            if other == "spool" and room in LEDGER_USERS:
                continue
            if room in BESIDE_THE_CORRIDOR.get(name, ()):
                continue
            assert name in TYPE_MODULES, f"{path} imports {name}, which is no type of the corridor"
            assert CORRIDOR.index(other) < CORRIDOR.index(room), f"{path} reaches back: {name}"


@pytest.mark.parametrize("room", sorted(FOREIGN_TO))
def test_a_room_knows_nothing_of_foreign_trades(room: str) -> None:
    for path in modules_of(room):
        roots = {name.split(".")[0] for name in imported_by(path)}
        assert not roots & set(FOREIGN_TO[room]), f"{path} imports {roots & set(FOREIGN_TO[room])}"


def test_the_import_test_sees_a_wrong_import(tmp_path: Path) -> None:
    module = tmp_path / "wrong.py"
    module.write_text("def f():\n    from dicomnode.report.results import build_results\n", encoding="utf-8")
    assert imported_by(module) == {"dicomnode.report.results"}
    assert not imported_by(module) & TYPE_MODULES


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in sorted(PACKAGE.rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert not long, f"perhaps two rooms in one: {long}"
