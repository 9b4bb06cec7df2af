"""The node and a PACS, started as a hospital runs them: processes of their own on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.orthanc import OrthancPacs, find_orthanc
from dicomnode.demo.pacs import SmallPacs
from dicomnode.demo.pacs_client import PacsClient
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME

FINAL_STATES = ("delivered", "refused", "failed")
PATIENCE_SECONDS = 300.0


class Hospital:
    """A node, its PACS, and what an administrator can see of both."""

    def __init__(self, directory: Path, pacs: OrthancPacs | SmallPacs) -> None:
        self.pacs = pacs
        self.node = NodeProcess(directory / "node", pacs.ae_title, pacs.port, device="cpu", quiet_seconds=1.0)
        self.client = PacsClient(pacs.port, pacs.ae_title)

    @property
    def address(self) -> list[str]:
        """The node for dcmtk's programs."""
        return ["-aec", self.node.peer.ae_title, "127.0.0.1", str(self.node.port)]

    def dicomnode(self, *arguments: str) -> Any:
        """Output of a command of ours that knows ``--json``."""
        command = [sys.executable, "-m", "dicomnode.cli", *arguments, "--config", str(self.node.config_path)]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def series(self) -> dict[str, dict[str, Any]]:
        """What `dicomnode status` says, by Series Instance UID."""
        return {one["series_instance_uid"]: one for one in self.dicomnode("status")["series"]}

    def wait_for(self, series_instance_uid: str, *states: str) -> dict[str, Any]:
        """What `dicomnode status` says once the series is in one of ``states``.

        By default its final state, with nothing left to deliver.
        """
        ledger = Ledger(self.node.spool_directory / LEDGER_NAME)
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while not _is_in(ledger, series_instance_uid, states):
                assert self.node.is_alive, self.node.last_line()
                assert time.monotonic() < deadline, self.series()
                time.sleep(0.05)
        finally:
            ledger.close()
        return self.series()[series_instance_uid]

    def log(self) -> str:
        """The node's log so far."""
        return self.node.log_path.read_text(encoding="utf-8")


def _is_in(ledger: Ledger, series_instance_uid: str, states: tuple[str, ...]) -> bool:
    found = [s.state for s in ledger.list_series() if s.series_instance_uid == series_instance_uid]
    if states:
        return bool(found) and found[0] in states
    return bool(found) and found[0] in FINAL_STATES and not ledger.outbox.backlog()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """One node and one PACS (Orthanc where it is installed) for the tests of a module."""
    directory = tmp_path_factory.mktemp("hospital")
    pacs = OrthancPacs(directory / "pacs") if find_orthanc() else SmallPacs(directory / "pacs")
    pacs.start()
    hospital = Hospital(directory, pacs)
    hospital.node.start()
    yield hospital
    hospital.node.stop()
    pacs.stop()
