"""Whatever is killed, the answer comes: the worker in mid-analysis, the node itself, a PACS that is down."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomnode.demo.pacs import SmallPacs
from tests.end_to_end.conftest import Hospital


@pytest.fixture
def own_hospital(tmp_path: Path) -> Iterator[Hospital]:
    """A node and a small PACS for one test, so that both may be killed."""
    pacs = SmallPacs(tmp_path / "pacs")
    pacs.start()
    hospital = Hospital(tmp_path, pacs)
    hospital.node.start()
    yield hospital
    hospital.node.stop()
    pacs.stop()


@pytest.fixture
def ct_files(data_dir: Path) -> list[Path]:
    """A real chest CT, small enough to be analyzed in seconds."""
    return sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))


def send(hospital: Hospital, files: list[Path]) -> str:
    """By storescu; the Series Instance UID."""
    subprocess.run(["storescu", *hospital.address, *map(str, files)], check=True)
    return str(dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)


def worker_pid(node_pid: int) -> int:
    """The child of the node that runs dicomnode.worker."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (process / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == node_pid and b"dicomnode.worker" in command:
            return int(process.name)
    raise AssertionError("the node has no worker")


def received(hospital: Hospital, files: list[Path]) -> dict[str, list[bytes]]:
    """The results in the PACS by modality: SOP Instance UID and pixels or content of each."""
    study = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
    found: dict[str, list[bytes]] = {}
    for series in hospital.client.find_series(study):
        for dataset in hospital.client.get_series(study, series.series_instance_uid):
            found.setdefault(series.modality, []).append(dataset.SOPInstanceUID.encode())
    return found


def test_a_worker_killed_in_mid_analysis_costs_an_attempt(
    own_hospital: Hospital, ct_files: list[Path]
) -> None:
    uid = send(own_hospital, ct_files)
    own_hospital.wait_for(uid, "analyzing")
    os.kill(worker_pid(own_hospital.node.pid), signal.SIGKILL)

    series = own_hospital.wait_for(uid)

    assert (series["state"], series["attempts"]) == ("delivered", 2)
    assert "killed by signal 9" in own_hospital.log()


def test_a_node_killed_in_mid_analysis_goes_on_after_its_restart(
    own_hospital: Hospital, ct_files: list[Path]
) -> None:
    uid = send(own_hospital, ct_files)
    own_hospital.wait_for(uid, "analyzing")
    worker = worker_pid(own_hospital.node.pid)
    own_hospital.node.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the worker outlived its node"
    own_hospital.node.start()

    series = own_hospital.wait_for(uid)

    assert series["state"] == "delivered"
    assert {modality: len(objects) for modality, objects in received(own_hospital, ct_files).items()} == {
        "SEG": 1,
        "SR": 1,
    }


def test_a_pacs_that_is_down_gets_the_results_when_it_is_back(tmp_path: Path, ct_files: list[Path]) -> None:
    pacs = SmallPacs(tmp_path / "pacs")
    pacs.start()
    port = pacs.port
    hospital = Hospital(tmp_path, pacs)
    pacs.stop()
    hospital.node.start()
    try:
        uid = send(hospital, ct_files)
        hospital.wait_for(uid, "delivering")
        again = SmallPacs(tmp_path / "pacs")
        again.start(port)
        assert hospital.wait_for(uid)["state"] == "delivered"
        assert set(received(hospital, ct_files)) == {"SEG", "SR"}
        again.stop()
    finally:
        hospital.node.stop()
