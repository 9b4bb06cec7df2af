"""The command line: help that a stranger understands, exit status, one-sentence errors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from dicomnode.cli import COMMANDS, main
from dicomnode.segment.card import models_directory


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    documentation = str(import_module(f"dicomnode.commands.{command}").__doc__)
    assert documentation.startswith(COMMANDS[command]), "the summary in the list and the module differ"
    assert len(told.splitlines()) > 8, "too little for a stranger"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^    {command}\s+\S", told, re.MULTILINE)


def test_help_and_status_do_not_wait_for_torch() -> None:
    program = (
        "import sys; from dicomnode.cli import parser_for; parser_for(['status']); parser_for([]);"
        "import dicomnode.node; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["analyze", "nowhere", "--out", "o"], "there is no folder nowhere"),
        (["demo", "--ct", "nowhere"], "there is no folder nowhere"),
        (["send", "nowhere", "--to", "A@h:1"], "there is no file to send at nowhere"),
        (["send", __file__, "--to", "nobody"], "AE@HOST:PORT"),
        (["serve", "--config", "nowhere.toml"], "there is no configuration file nowhere.toml"),
        (["status", "--config", "nowhere.toml"], "there is no configuration file nowhere.toml"),
        (["cohort", "nowhere", "--out", "o"], "there is no folder nowhere"),
        (["prognosis", "nowhere.csv", "--outcome", "died"], "there is no table nowhere.csv"),
        (["evaluate", "no_model", "--data", "nowhere"], "no_model"),
    ],
)
def test_errors_are_one_sentence_and_status_1(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["send"], ["status", "--state", "lost"]])
def test_wrong_usage_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_the_ledger_commands_without_a_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DICOMNODE_SPOOL__DIRECTORY", str(tmp_path))
    for words in (["status"], ["show", "x"], ["retry", "x"]):
        assert main(words) == 1
        assert "there is no ledger" in capsys.readouterr().err


def test_check_tells_each_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DICOMNODE_SPOOL__DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DICOMNODE_SPOOL__MINIMUM_FREE_GB", "1e9")
    monkeypatch.setenv("DICOMNODE_NODE__PORT", "0")
    monkeypatch.setenv("DICOMNODE_ANALYSIS__MODEL", "no_such_model")
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 1, "accepts": ["seg", "pdf"]}
    monkeypatch.setenv("DICOMNODE_DESTINATION", json.dumps([pacs]))
    assert main(["check"]) == 1
    told = capsys.readouterr().out
    assert "anyone who reaches the port may send" in told
    assert "gets no pdf: report.include doesn't name it" in " ".join(told.split())
    for wrong in ("minimum_free_gb", "no_such_model", "PACS@127.0.0.1:1"):
        assert any("WRONG" in line and wrong in line for line in told.splitlines()), told


def test_check_tells_whether_there_are_lobes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DICOMNODE_SPOOL__DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DICOMNODE_NODE__PORT", "0")
    published = models_directory() / "lobes"
    monkeypatch.setenv("DICOMNODE_MODELS", str(tmp_path / "models"))
    main(["check"])
    assert "no model of lobes is installed" in capsys.readouterr().out
    folder = shutil.copytree(published, tmp_path / "models" / "lobes")
    main(["check"])
    told = capsys.readouterr().out
    assert any("lobes" in line and "checksum of the weights is right" in line for line in told.splitlines())
    (folder / "weights.safetensors").write_bytes(b"")
    main(["check"])
    told = capsys.readouterr().out
    assert any("WRONG" in line and "model lobes: the weights" in line for line in told.splitlines())


def test_check_of_a_sound_node_is_status_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DICOMNODE_SPOOL__DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DICOMNODE_SPOOL__MINIMUM_FREE_GB", "0.001")
    monkeypatch.setenv("DICOMNODE_NODE__PORT", "0")
    assert main(["check"]) == 0, capsys.readouterr().out
