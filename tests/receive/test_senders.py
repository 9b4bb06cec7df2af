"""Series as real senders bring them: interleaved, in portions, again, and with storage commitment."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import UID

from dicomnode.demo.orthanc import OrthancPacs, find_orthanc, free_port
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.states import SeriesState
from tests.dicom_network import Node, NodeFactory, installed, make_ct, until
from tests.receive.commitment_peers import call_back_to

STUDY = "1.2.826.0.1.3680043.8.498.2"
PATIENT = CompletenessSettings(quiet_seconds=60, deadline_seconds=60, release_seconds=0.5)
SLICES = 40
ALL_OF_IT = "released, 40 slices from 0.0 to 117.0 mm without a gap"


@pytest.fixture(scope="module")
def three_series(tmp_path_factory: pytest.TempPathFactory) -> list[list[Path]]:
    """Files of three series of 40 slices."""
    return [series_files(tmp_path_factory.mktemp("series"), number) for number in (1, 2, 3)]


@pytest.fixture
def node(start_node: NodeFactory) -> Node:
    """Only evidence completes a series here in the time of a test."""
    return start_node(completeness=PATIENT)


def series_files(folder: Path, series: int) -> list[Path]:
    paths = []
    for number in range(SLICES):
        dataset = make_ct(
            number,
            SOPInstanceUID=UID(f"1.2.3.{series}.{number}"),
            SeriesInstanceUID=UID(f"1.2.3.{series}"),
            ImagePositionPatient=[0.0, 0.0, 3.0 * number],
            ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        )
        path = folder / f"{series}-{number:03}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def send(node: Node, tool: str, paths: Sequence[Path]) -> None:
    answer = node.dcmtk(tool, *paths)
    assert answer.returncode == 0, answer.stderr


def complete(node: Node, count: int = 1) -> tuple[SeriesRecord, ...]:
    """The series, once ``count`` are complete."""
    until(lambda: len(node.spool.ledger.list_series(SeriesState.COMPLETE)) == count)
    return node.spool.ledger.list_series()


@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
def test_one_association_with_many_series_in_turns(
    node: Node, tool: str, three_series: list[list[Path]]
) -> None:
    send(node, tool, [path for of_each in zip(*three_series, strict=True) for path in of_each])
    assert [series.completeness for series in complete(node, 3)] == [ALL_OF_IT] * 3


def test_one_series_on_several_associations_at_once(node: Node, three_series: list[list[Path]]) -> None:
    portions = [three_series[0][start::4] for start in range(4)]
    threads = [threading.Thread(target=send, args=(node, "storescu", portion)) for portion in portions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (series,) = complete(node)
    assert (series.completeness, series.generation, series.instances) == (ALL_OF_IT, 1, SLICES)


def test_one_association_an_image(start_node: NodeFactory, three_series: list[list[Path]]) -> None:
    node = start_node(completeness=CompletenessSettings(60, 60, release_seconds=2))
    for path in three_series[0]:
        send(node, "storescu", [path])
    (series,) = complete(node)
    assert (series.completeness, series.generation) == (ALL_OF_IT, 1)


def test_images_sent_twice_change_nothing(node: Node, three_series: list[list[Path]]) -> None:
    for _ in range(2):
        send(node, "storescu", [path for path in three_series[0] for _ in range(2)])
    (series,) = complete(node)
    assert (series.completeness, series.instances) == (ALL_OF_IT, SLICES)
    send(node, "dcmsend", three_series[0])
    (series,) = complete(node)
    assert (series.generation, series.instances) == (1, SLICES)


def test_a_sender_that_breaks_off_and_sends_again_waits_for_the_quiet_time(
    start_node: NodeFactory, three_series: list[list[Path]]
) -> None:
    node = start_node(completeness=CompletenessSettings(3, 60, release_seconds=0.1))
    command = [installed("storescu"), "--abort", "-aec", "DICOMNODE", "127.0.0.1", str(node.port)]
    subprocess.run([*command, *map(str, three_series[0][:20])], check=True, timeout=60)
    send(node, "storescu", three_series[0])
    (series,) = complete(node)
    assert series.instances == SLICES
    assert series.completeness.startswith("quiet time")


def test_a_gap_waits_for_the_slice_that_fills_it(node: Node, three_series: list[list[Path]]) -> None:
    send(node, "storescu", three_series[0][:17] + three_series[0][18:])
    send(node, "storescu", three_series[1])
    assert {series.state for series in complete(node)} == {SeriesState.COMPLETE, SeriesState.RECEIVING}
    send(node, "storescu", three_series[0][17:18])
    assert [series.completeness for series in complete(node, 2)] == [ALL_OF_IT] * 2


def test_a_late_slice_makes_a_new_generation(node: Node, three_series: list[list[Path]]) -> None:
    send(node, "storescu", three_series[0][:-1])
    (series,) = complete(node)
    assert series.completeness == "released, 39 slices from 0.0 to 114.0 mm without a gap"
    send(node, "storescu", three_series[0][-1:])
    until(lambda: node.spool.ledger.list_series()[0].generation == 2)
    (series,) = complete(node)
    assert series.completeness == ALL_OF_IT


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[OrthancPacs, int]]:
    """An Orthanc that sends to a node on a port, and that port."""
    if not find_orthanc():
        pytest.skip("Orthanc is not installed")
    port = free_port()
    modality = {"AET": "DICOMNODE", "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
    running = OrthancPacs(tmp_path / "orthanc", further={"DicomModalities": {"node": modality}})
    running.start()
    yield running, port
    running.stop()


def rest(orthanc: OrthancPacs, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    with urllib.request.urlopen(f"http://127.0.0.1:{orthanc.http_port}{path}", content) as answer:
        return json.load(answer)


def test_orthanc_stores_asks_for_commitment_and_is_called_back(
    start_node: NodeFactory, orthanc: tuple[OrthancPacs, int], three_series: list[list[Path]]
) -> None:
    sender, port = orthanc
    patient = CompletenessSettings(quiet_seconds=60, deadline_seconds=60, release_seconds=60)
    node = start_node(port=port, completeness=patient, call_back=call_back_to(sender.port, sender.ae_title))
    stored = [rest(sender, "/instances", path.read_bytes()) for path in three_series[0]]
    body = {"Resources": [stored[0]["ParentSeries"]], "StorageCommitment": True, "Synchronous": True}
    transaction = rest(sender, "/modalities/node/store", body)["StorageCommitmentTransactionUID"]

    (series,) = complete(node)
    assert series.completeness == "storage commitment: the sender listed 40 instances, all kept"
    until(lambda: rest(sender, f"/storage-commitment/{transaction}")["Status"] != "Pending")
    report = rest(sender, f"/storage-commitment/{transaction}")
    assert (report["Status"], len(report["Success"]), report["Failures"]) == ("Success", SLICES, [])
    assert not node.spool.ledger.asked_by_others.waiting()
