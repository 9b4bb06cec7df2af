"""The operations document: every alarm of the code is explained, and the commands in it work."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from pydicom import dcmread

import dicomnode
from dicomnode.config import Config
from dicomnode.demo.node_process import NodeProcess
from dicomnode.housekeeping import ALARMS, deadlines_of
from dicomnode.reload import RELOADABLE
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.spool import LEDGER_NAME
from dicomnode.spool.states import SeriesState
from tests.conftest import REPOSITORY
from tests.dicom_network import installed, make_ct, storescp, until

PACKAGE = Path(dicomnode.__file__).parent
DOCUMENT = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
LEVELS = {"warning": "WARNING", "error": "ERROR", "exception": "ERROR", "critical": "ERROR"}


def section(heading: str) -> str:
    """What stands between a heading and the next."""
    return re.split(r"^##+ ", DOCUMENT.split(f"# {heading}\n")[1], flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """First cells of tables, without the marks of code."""
    return {line.split("|")[1].strip().strip("`") for line in text.splitlines() if line.startswith("| `")}


def commands(heading: str) -> str:
    """The shell commands in a section."""
    (block,) = re.findall(r"```sh\n(.*?)```", section(heading), flags=re.DOTALL)
    return block


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path, node


def value_of(node: ast.expr, path: Path) -> str:
    """A string literal, or the constant that a name stands for."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.Name), f"{path}:{node.lineno}: the text must be a constant"
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return str(getattr(import_module(name), node.id))


def test_every_alarm_has_a_level_of_its_own() -> None:
    """``LOGGER.log`` would hide one from the tables."""
    assert not [path for path, call in calls() if ast.unparse(call.func) == "LOGGER.log"]


def log_lines(level: str) -> set[str]:
    """What the node can log at a level, with dots for what differs."""
    return {
        re.sub(r"%[.\d]*[a-z]", "...", value_of(call.args[0], path))
        for path, call in calls()
        if isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) == "LOGGER"
        and LEVELS.get(call.func.attr) == level
    }


@pytest.mark.parametrize(("level", "heading"), [("ERROR", "CRITICAL and ERROR"), ("WARNING", "WARNING")])
def test_every_alarm_in_the_log_is_explained_and_no_other(level: str, heading: str) -> None:
    lines = log_lines(level)
    assert len(lines) > 10
    assert first_cells(section(heading)) == lines, f"docs/operations.md, section {heading}"


def test_every_overdue_sentence_is_explained() -> None:
    explained = section("Overdue series")
    for state, sentence in ALARMS.items():
        assert f"| `{sentence}` | `{state.value}` |" in explained


def test_every_reason_of_failure_is_explained() -> None:
    reasons = {
        value_of(keyword.value, path)
        for path, call in calls()
        for keyword in call.keywords
        if keyword.arg == "reason" and "FAILED" in ast.unparse(call)
        if isinstance(keyword.value, (ast.Constant, ast.Name)) and ast.unparse(keyword.value) != "reason"
    }
    reasons |= {
        value_of(call.args[2], path)
        for path, call in calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr == "fail" and len(call.args) == 4
    }
    assert {"analysis_failed", "instances_lost"} <= reasons
    assert first_cells(section("Why a series failed")) == reasons


def test_every_rule_of_prometheus_is_explained() -> None:
    rules = (REPOSITORY / "config" / "prometheus-alerts.yml").read_text(encoding="utf-8")
    assert first_cells(section("Prometheus")) == set(re.findall(r"- alert: (\w+)", rules))


def test_every_subject_of_check_is_explained() -> None:
    subjects = {
        value_of(call.args[0], path)
        for path, call in calls()
        if ast.unparse(call.func) == "Finding" and isinstance(call.args[0], ast.Constant)
    }
    assert first_cells(section("Findings of `dicomnode check`")) == subjects | {"node.tls"}


def test_every_key_that_is_reloaded_is_named() -> None:
    rows = [line for line in section("Change the configuration").splitlines() if line.startswith("| ")]
    named = re.findall(r"`([a-z]+\.[a-z_]+|destination)`", "".join(rows))
    assert set(named) == set(RELOADABLE)


def test_the_deadlines_are_those_of_the_code() -> None:
    table, config = section("What happens to a series"), Config()
    deadlines = deadlines_of(config)
    for state, key, value, of_state in (
        ("receiving", "deadline_seconds", config.series.deadline_seconds, deadlines.receiving),
        ("complete", "waiting_alarm_seconds", config.analysis.waiting_alarm_seconds, deadlines.complete),
        ("analyzing", "timeout_seconds", config.analysis.timeout_seconds, deadlines.analyzing),
    ):
        more = f" + {of_state - value:.0f} s" if of_state > value else ""
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{state}` |")]
        assert f"| `{key}`{more} |" in row


def test_every_state_has_a_row() -> None:
    assert {state.value for state in SeriesState} <= first_cells(section("What happens to a series"))


def test_the_certificates_of_the_document_are_good(tmp_path: Path) -> None:
    installed("openssl")
    made = subprocess.run(
        ["bash", "-euc", commands("Certificates")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert "node.pem: OK" in made.stdout


def run_here(block: str, spool: Path, backup: Path) -> None:
    """Commands of the document with the folders and the Python of this test."""
    here = block.replace("SPOOL=/var/lib/dicomnode BACKUP=/srv/backup/dicomnode", "")
    assert here != block
    here = here.replace("/opt/dicomnode/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-euc", here],
        env={"SPOOL": str(spool), "BACKUP": str(backup), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def send(node: NodeProcess, folder: Path, series: int, numbers: range) -> None:
    """Slices of a series of their own, by dcmtk."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in numbers:
        slice_ = make_ct(
            100 * series + number,
            SeriesInstanceUID=f"1.2.826.0.1.3680043.8.498.3.{series}",
            StudyInstanceUID=f"1.2.826.0.1.3680043.8.498.2.{series}",
            Modality="CT",
        )
        path = folder / f"{series}-{number}.dcm"
        slice_.save_as(path, enforce_file_format=True)
        paths.append(str(path))
    command = [installed("storescu"), "-aec", "DICOMNODE", "127.0.0.1", str(node.port), *paths]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def series_of(spool: Path) -> dict[str, SeriesRecord]:
    ledger = Ledger(spool / LEDGER_NAME)
    try:
        return {series.series_instance_uid.rpartition(".")[2]: series for series in ledger.list_series()}
    finally:
        ledger.close()


def is_answered(spool: Path, number: str) -> bool:
    """Whether a series has ended and nothing of it waits for the destination."""
    ledger = Ledger(spool / LEDGER_NAME)
    try:
        found = series_of(spool).get(number)
        if found is None or found.state is not SeriesState.REFUSED:
            return False
        deliveries = ledger.show(found.id).deliveries
        return bool(deliveries) and all(delivery.delivered_at for delivery in deliveries)
    finally:
        ledger.close()


def test_a_backup_of_a_running_node_is_restored_elsewhere(tmp_path: Path) -> None:
    """One series was answered before the backup, one came between its two steps."""
    backup, elsewhere = tmp_path / "backup", tmp_path / "elsewhere"
    folders, *of_ledger, of_files = commands("Back up").strip().splitlines()
    with storescp(tmp_path, "+B", "+uf") as (pacs_port, received):
        first = NodeProcess(tmp_path / "node", "PACS", pacs_port, "cpu", quiet_seconds=0.5)
        second = NodeProcess(elsewhere, "PACS", pacs_port, "cpu", quiet_seconds=0.5)
        try:
            first.start()
            send(first, tmp_path / "ct", 1, range(1, 4))
            until(lambda: is_answered(first.spool_directory, "1"), 60)
            run_here("\n".join([folders, *of_ledger]), first.spool_directory, backup)
            send(first, tmp_path / "ct", 2, range(1, 3))
            run_here(f"{folders}\n{of_files}", first.spool_directory, backup)
            until(lambda: is_answered(first.spool_directory, "2"), 60)
            before = sorted(dcmread(path).SOPInstanceUID for path in received.iterdir())
            first.kill()

            run_here(commands("Restore"), second.spool_directory, backup)
            assert series_of(second.spool_directory).keys() == {"1"}
            second.start()
            until(lambda: is_answered(second.spool_directory, "2"), 60)
        finally:
            first.stop()
            second.stop()
        restored = series_of(second.spool_directory)
        assert {number: series.instances for number, series in restored.items()} == {"1": 3, "2": 2}
        assert is_answered(second.spool_directory, "1")
        files = sorted(path for path in (second.spool_directory / "instances").rglob("*.dcm"))
        assert len(files) == 5
        assert set(before) == {dcmread(path).SOPInstanceUID for path in received.iterdir()}
