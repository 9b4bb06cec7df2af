"""The configuration: defaults, environment, and one clear finding for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from dicomnode.config import Config, ConfigError, load_config
from dicomnode.config_sections import Kind
from dicomnode.report.result_set import ResultKind

REPOSITORY = Path(__file__).resolve().parents[1]


def finding(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_the_commented_file_holds_every_key_with_its_default() -> None:
    path = REPOSITORY / "config" / "dicomnode.toml"
    assert load_config(path).model_dump() == Config().model_dump()
    text = path.read_text(encoding="utf-8")
    for section, model in Config().model_dump().items():
        for key in model if isinstance(model, dict) else ():
            assert f"\n{key} = " in text or f"\n# {key} = " in text, f"[{section}] {key} is not described"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[node]\nport = 99999\n", "node.port"),
        ("[node]\nprot = 104\n", "node.prot: there is no such key"),
        ("[nodes]\nport = 104\n", "nodes: there is no such key"),
        ('[node]\nae_title = "A TITLE THAT IS TOO LONG"\n', "1 to 16 printable ASCII"),
        ('[access]\naddresses = ["10.0.0.0/99"]\n', "access.addresses.0"),
        ('[analysis]\ncluster = "ray://head"\n', "analysis.cluster: a cluster is written HOST:PORT"),
        ('[series]\ncount_source = "pacs:104"\n', "a peer is written AE@HOST:PORT"),
        ('[web]\nhost = "0.0.0.0"\nport = 8080\n', "needs an access token"),
        ("[spool]\nretention_days = -1\n", "spool.retention_days"),
        ("[series]\nquiet_seconds = 60\ndeadline_seconds = 5\n", "deadline_seconds must not be shorter"),
        ('[report]\ninclude = ["sr"]\n', '"sr" needs "seg"'),
        ("[node\n", "node"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in finding(tmp_path / "dicomnode.toml", text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    told = finding(tmp_path / "dicomnode.toml", "[node]\nport = -1\n[spool]\nminimum_free_gb = -1\n")
    assert "node.port" in told
    assert "spool.minimum_free_gb" in told


def test_two_destinations_of_one_name(tmp_path: Path) -> None:
    block = '[[destination]]\nname = "pacs"\nae_title = "PACS"\nhost = "h"\nport = 104\n'
    assert "two destinations have the name 'pacs'" in finding(tmp_path / "dicomnode.toml", block * 2)


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dicomnode.toml"
    path.write_text("[node]\nport = 104\n", encoding="utf-8")
    monkeypatch.setenv("DICOMNODE_NODE__PORT", "11113")
    monkeypatch.setenv("DICOMNODE_SPOOL__DIRECTORY", "/srv/spool")
    config = load_config(path)
    assert config.node.port == 11113
    assert config.spool.directory == Path("/srv/spool")


def test_a_mistyped_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMNODE_NODES__PORT", "104")
    with pytest.raises(ConfigError, match="DICOMNODE_NODES__PORT: there is no such section"):
        load_config(None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no configuration file .*nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_every_kind_of_result_can_be_named() -> None:
    assert {*get_args(Kind), ResultKind.FHIR} == {*ResultKind}


def test_only_what_changes_a_result_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_config(None).analysis_sha256()
    monkeypatch.setenv("DICOMNODE_NODE__PORT", "11113")
    assert load_config(None).analysis_sha256() == before
    monkeypatch.setenv("DICOMNODE_ANALYSIS__MODEL", "another")
    assert load_config(None).analysis_sha256() != before
