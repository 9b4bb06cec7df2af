"""Machines of the cluster die, its head too: series wait or are tried again, and the node still receives."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from benchmarks.ray_machines import RayMachine
from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.pacs import SmallPacs
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.spool import LEDGER_NAME
from dicomnode.spool.states import SeriesState
from tests.dicom_network import installed

PATIENCE_SECONDS = 240.0
URGENT = "EMERGENCY"


class Site:
    """A node with a PACS, and what its ledger says."""

    def __init__(self, directory: Path) -> None:
        self.pacs = SmallPacs(directory / "pacs")
        self.pacs.start()
        self.node = NodeProcess(
            directory / "node", self.pacs.ae_title, self.pacs.port, device="cpu", quiet_seconds=0.5
        )

    def send(self, chest: list[Path], folder: Path, calling: str = "SCANNER") -> str:
        """The chest as a new series; returns its UID once it is complete."""
        folder.mkdir()
        study, series = generate_uid(), generate_uid()
        for path in chest:
            dataset = dcmread(path)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.save_as(folder / path.name)
        command = [installed("storescu"), "-aet", calling, "-aec", "DICOMNODE", "+sd", "127.0.0.1"]
        subprocess.run([*command, str(self.node.port), str(folder)], check=True, timeout=60)
        self.wait_until(series, lambda one: one.state is not SeriesState.RECEIVING)
        return series

    def wait_until(self, uid: str, is_so: Callable[[SeriesRecord], bool]) -> SeriesRecord:
        """The series, as soon as it is so."""
        ledger = Ledger(self.node.spool_directory / LEDGER_NAME)
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while True:
                found = next((s for s in ledger.list_series() if s.series_instance_uid == uid), None)
                if found is not None and is_so(found):
                    return found
                assert self.node.is_alive and time.monotonic() < deadline, f"{found}\n{self.log()}"
                time.sleep(0.05)
        finally:
            ledger.close()

    def delivered(self, uid: str) -> SeriesRecord:
        return self.wait_until(uid, lambda one: one.state is SeriesState.DELIVERED)

    def log(self) -> str:
        return self.node.log_path.read_text(encoding="utf-8")

    def wait_for_log(self, words: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.log().count(words) < times:
            assert self.node.is_alive and time.monotonic() < deadline, self.log()
            time.sleep(0.05)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    yield site
    site.node.stop()
    site.pacs.stop()


def test_the_cluster_comes_and_goes(
    machines: Callable[..., RayMachine],
    site: Site,
    chest: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = machines(0)
    one, other = machines(1, head), machines(1, head)
    for key, value in {
        "CLUSTER": head.address,
        "CLUSTER_CPUS": "1",
        "MODEL": "medip_unet2d",
        "RUNTIME": "torch",
        "URGENT_AE_TITLES": f'["{URGENT}"]',
        "ATTEMPTS": "2",
    }.items():
        monkeypatch.setenv(f"DICOMNODE_ANALYSIS__{key}", value)

    # No head yet: series wait, the emergency station's go first when it comes.
    site.node.start()
    ordinary = site.send(chest, tmp_path / "1")
    urgent = site.send(chest, tmp_path / "2", URGENT)
    site.wait_for_log("no worker in the cluster: the head of the cluster at")
    for uid in (ordinary, urgent):
        waiting = site.wait_until(uid, lambda _: True)
        assert (waiting.state, waiting.attempts) == (SeriesState.COMPLETE, 0)
    head.start()
    one.start()
    site.wait_for_log("the cluster has a worker again")
    first, second = site.delivered(urgent), site.delivered(ordinary)
    assert first.attempts == second.attempts == 1
    began = [line for line in site.log().splitlines() if "analysis begins" in line]
    assert [first.id in began[0], second.id in began[1]] == [True, True]

    # A machine dies under a series: the other one, which joins later, has it.
    moved = site.send(chest, tmp_path / "3")
    site.wait_until(moved, lambda s: s.state is SeriesState.ANALYZING)
    one.kill()
    other.start()
    assert site.delivered(moved).attempts == 2
    assert "attempt failed" in site.log()

    # The head dies with the whole cluster: nothing is begun, nothing is lost, and the node listens.
    for machine in (other, head):
        machine.kill()
    late = site.send(chest, tmp_path / "4")
    site.wait_for_log("no worker in the cluster", times=2)
    waiting = site.wait_until(late, lambda _: True)
    assert (waiting.state, waiting.attempts) == (SeriesState.COMPLETE, 0)
    head.start()
    other.start()
    assert site.delivered(late).attempts == 1

    # The node dies: nothing of it stays in the cluster, or holds a GPU there.
    again = site.send(chest, tmp_path / "5")
    site.wait_until(again, lambda s: s.state is SeriesState.ANALYZING)
    assert other.pids("dicomnode.worker")
    site.node.kill()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while other.pids("dicomnode.worker") or other.pids("ray::SeriesWorker"):
        assert time.monotonic() < deadline, "the actor lives on"
        time.sleep(0.05)
    site.node.start()
    assert site.delivered(again).attempts == 2
    assert "Traceback" not in site.log()
