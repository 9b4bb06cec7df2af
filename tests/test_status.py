"""`dicomnode status`: what waits for each destination, for people and for scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.cli import main
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from tests.spool.ledger_cases import Receiver, analyzed

CONFIG = """
[spool]
directory = "{spool}"
[[destination]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = 104
[[destination]]
name = "archive"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = 105
commitment = true
"""


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """Of a node that can't reach its PACS, whose archive has everything, and that had a third destination."""
    path = tmp_path / "dicomnode.toml"
    path.write_text(CONFIG.format(spool=tmp_path))
    ledger = Ledger(tmp_path / LEDGER_NAME)
    analyzed(ledger, [Receiver("pacs"), Receiver("archive", commitment=True), Receiver("former", ("sr",))])
    for delivery in ledger.outbox.due("archive"):
        if delivery.kind == "seg":
            ledger.outbox.refused(delivery, "SOP class not supported", whole_kind=True)
    for delivery in ledger.outbox.due("archive"):
        ledger.outbox.succeeded(delivery)
    ledger.outbox.destination_failed("pacs", "no connection", time.time() + 5)
    ledger.outbox.destination_failed("pacs", "no connection at all", time.time() + 600)
    ledger.close()
    yield path


def test_for_scripts(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--config", str(config), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    pacs, archive, former = content["destinations"]
    assert (pacs["name"], pacs["configured"], pacs["waiting"], pacs["failures"]) == ("pacs", True, 2, 2)
    assert pacs["last_error"] == "no connection at all"
    assert pacs["next_attempt_at"] > time.time() + 500
    assert pacs["last_success_at"] is None
    assert abs(pacs["oldest_created_at"] - time.time()) < 60
    assert (archive["name"], archive["waiting"], archive["oldest_created_at"]) == ("archive", 0, None)
    assert abs(archive["last_success_at"] - time.time()) < 60
    assert archive["uncommitted"] == 2, "the report, and the picture instead of the masks"
    assert [(one["kind"], one["for_good"]) for one in archive["refused_kinds"]] == [("seg", True)]
    assert (former["name"], former["configured"], former["waiting"]) == ("former", False, 1)
    assert [line["pending"] for line in content["backlog"]] == [2, 1]


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.3.1", "2.25.111", "2.25.9"])
def test_a_series_is_found_by_any_uid_that_belongs_to_it(
    config: Path, capsys: pytest.CaptureFixture[str], uid: str
) -> None:
    """Its own, an instance's, a result's, a result's series'."""
    assert main(["show", uid, "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["series"]["series_instance_uid"] == "1.2.3"


def test_an_unknown_uid_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "1.9", "--config", str(config)]) == 1
    assert "no series, instance or result here has the UID 1.9" in capsys.readouterr().err


def test_for_people(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--config", str(config)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in (
        "pacs",
        "pacs: no connection at all",
        "archive refused seg, isn't sent any more: SOP",
        "former (not configured)",
    ):
        assert words in printed, printed
