"""config/router.lua in a real Orthanc before two nodes: a study goes to one of them, late slices too."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicomnode.demo.orthanc import OrthancPacs, find_orthanc
from tests.assemble.ct_series import write_series
from tests.conftest import REPOSITORY
from tests.dicom_network import Node, NodeFactory, free_port, installed, until

STUDIES = 6
SLICES = 3


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def router(tmp_path: Path, ports: tuple[int, int]) -> Iterator[OrthancPacs]:
    if find_orthanc() is None:
        pytest.skip("Orthanc is not installed")
    modalities = {
        f"node{number}": {"AET": "DICOMNODE", "Host": "127.0.0.1", "Port": port}
        for number, port in enumerate(ports, 1)
    }
    settings = {
        "DicomModalities": modalities,
        "LuaScripts": [str(REPOSITORY / "config" / "router.lua")],
        "StableAge": 1,
    }
    router = OrthancPacs(tmp_path / "router", "ROUTER", further=settings)
    router.start()
    yield router
    router.stop()


def rest(router: OrthancPacs, path: str, body: str | None = None) -> Any:
    address = f"http://127.0.0.1:{router.http_port}{path}"
    with urllib.request.urlopen(address, data=None if body is None else body.encode(), timeout=20) as answer:
        return json.loads(answer.read())


def send(router: OrthancPacs, folder: Path) -> None:
    command = [installed("storescu"), "-aec", router.ae_title, "+sd", "127.0.0.1", str(router.port)]
    subprocess.run([*command, str(folder)], check=True, timeout=60)


def study_uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.9.2.{number}"


def write_study(folder: Path, number: int, count: int = SLICES) -> Path:
    def edit(_index: int, dataset: Dataset) -> None:
        dataset.StudyInstanceUID = study_uid(number)
        dataset.SeriesInstanceUID = f"1.2.826.0.1.3680043.9.3.{number}"
        dataset.SOPInstanceUID += f".{number}"
        dataset.PatientID = str(number)

    write_series(folder, count=count, edit=edit)
    return folder


def received(node: Node) -> dict[str, int]:
    return {one.study_instance_uid: one.instances for one in node.spool.ledger.list_series()}


def test_each_study_has_one_node_and_keeps_it(
    router: OrthancPacs, ports: tuple[int, int], start_node: NodeFactory, tmp_path: Path
) -> None:
    first, second = (start_node(port=port) for port in ports)
    for number in range(STUDIES):
        send(router, write_study(tmp_path / str(number), number))
    expected = {study_uid(number): SLICES for number in range(STUDIES)}
    until(lambda: received(first) | received(second) == expected, 60)
    assert received(first) and received(second), "both have work"
    assert not received(first).keys() & received(second).keys()

    # A late slice finds the others.
    has, lacks = (first, second) if study_uid(0) in received(first) else (second, first)
    send(router, write_study(tmp_path / "late", 0, SLICES + 1))
    until(lambda: received(has)[study_uid(0)] == SLICES + 1, 60)
    assert study_uid(0) not in received(lacks)


def test_a_node_that_is_away_gets_its_share_when_the_jobs_are_resubmitted(
    router: OrthancPacs, ports: tuple[int, int], start_node: NodeFactory, tmp_path: Path
) -> None:
    first = start_node(port=ports[0])
    for number in range(STUDIES):
        send(router, write_study(tmp_path / str(number), number))

    def failed() -> list[str]:
        jobs = rest(router, "/jobs?expand")
        return [job["ID"] for job in jobs if job["State"] == "Failure"]

    until(lambda: len(received(first)) + len(failed()) == STUDIES, 120)
    assert received(first) and failed()
    second = start_node(port=ports[1])
    for job in failed():
        rest(router, f"/jobs/{job}/resubmit", "")
    until(lambda: (received(first) | received(second)).keys() == {study_uid(n) for n in range(STUDIES)}, 60)
    assert not received(first).keys() & received(second).keys()
