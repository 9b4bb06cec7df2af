"""Asking a real PACS how many instances a series has."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicomnode.callback import count_source
from dicomnode.config import Config
from dicomnode.demo.orthanc import OrthancPacs, find_orthanc
from dicomnode.demo.pacs import SmallPacs
from dicomnode.receive.count_source import CountSource
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.spool.states import SeriesState
from tests.dicom_network import Node, NodeFactory, until
from tests.receive.commitment_peers import references, sender, slices, store

PATIENT = CompletenessSettings(quiet_seconds=60, deadline_seconds=60, release_seconds=0.1)
STUDY, SERIES = "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"


def source_at(port: int) -> CountSource:
    """As the node wires it from its configuration."""
    source = count_source(Config(series={"count_source": f"PACS@127.0.0.1:{port}"}))  # type: ignore[arg-type]
    assert source is not None
    return source


@pytest.fixture(scope="module", params=["Orthanc", "a PACS without Orthanc"])
def pacs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OrthancPacs | SmallPacs]:
    """With 12 slices of one series."""
    directory = tmp_path_factory.mktemp("pacs")
    if request.param == "Orthanc" and not find_orthanc():
        pytest.skip("Orthanc is not installed")
    running = OrthancPacs(directory) if request.param == "Orthanc" else SmallPacs(directory)
    running.start()
    bring(running.port, slices(range(12)))
    yield running
    running.stop()


def bring(port: int, datasets: list[Dataset]) -> None:
    entity = AE("SCANNER")
    entity.add_requested_context(datasets[0].SOPClassUID)
    association = entity.associate("127.0.0.1", port, ae_title="PACS")
    store(association, datasets)
    association.release()


def send(node: Node, numbers: range) -> None:
    with sender(node) as association:
        store(association, slices(numbers))


def story(node: Node) -> list[str]:
    ledger = node.spool.ledger
    return [event.text for event in ledger.show(ledger.list_series()[0].id).events]


def completeness(node: Node) -> str:
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    return node.spool.ledger.list_series()[0].completeness


def test_a_pacs_lists_the_instances(pacs: OrthancPacs | SmallPacs) -> None:
    answer = source_at(pacs.port).ask(STUDY, SERIES)
    assert answer.sop_instance_uids == {uid for _, uid in references(slices(range(12)))}


def test_a_series_that_the_pacs_does_not_know(pacs: OrthancPacs | SmallPacs) -> None:
    answer = source_at(pacs.port).ask(STUDY, "1.2.3")
    assert (answer.sop_instance_uids, answer.count) == (None, None)
    assert answer.problem == "it doesn't know the series"


def test_a_series_is_complete_when_all_that_the_source_lists_has_come(
    start_node: NodeFactory, pacs: OrthancPacs | SmallPacs
) -> None:
    node = start_node(completeness=PATIENT, count_source=source_at(pacs.port))
    send(node, range(11))
    until(lambda: "11 of the 12 instances that PACS lists came" in story(node))
    assert node.spool.ledger.list_series()[0].state is SeriesState.RECEIVING
    send(node, range(11, 12))
    assert completeness(node) == "the source PACS lists 12 instances, all kept"


def test_at_the_deadline_the_decision_says_what_is_missing(
    start_node: NodeFactory, pacs: OrthancPacs | SmallPacs
) -> None:
    times = CompletenessSettings(quiet_seconds=0.3, deadline_seconds=1.5, release_seconds=0.1)
    node = start_node(completeness=times, count_source=source_at(pacs.port))
    send(node, range(10))
    assert completeness(node) == "deadline: 10 of the 12 instances that PACS lists came"


def test_a_source_that_is_down_leaves_it_to_weaker_evidence(start_node: NodeFactory) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        source = source_at(nobody.getsockname()[1])
        node = start_node(completeness=PATIENT, count_source=source)
        send(node, range(12))
        assert completeness(node) == "released, 12 slices from 0.0 to 110.0 mm without a gap"
    (note,) = [text for text in story(node) if "doesn't tell the count" in text]
    assert "no connection" in note


def test_a_source_without_the_image_level_tells_the_number(start_node: NodeFactory) -> None:
    levels = []

    def answer(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        levels.append(query.QueryRetrieveLevel)
        if query.QueryRetrieveLevel == "IMAGE":
            yield 0xA900, None
            return
        query.NumberOfSeriesRelatedInstances = 12
        yield 0xFF00, query

    entity = AE("PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    try:
        node = start_node(completeness=PATIENT, count_source=source_at(server.socket.getsockname()[1]))
        send(node, range(12))
        assert completeness(node) == "the source PACS lists 12 instances, all kept"
    finally:
        server.shutdown()
    assert levels == ["IMAGE", "SERIES"]


def test_a_source_that_hangs_holds_up_nobody(start_node: NodeFactory) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        node = start_node(completeness=PATIENT, count_source=source_at(mute.getsockname()[1]))
        send(node, range(12))
        connection, _ = mute.accept()
        send(node, range(12, 20))
        assert node.echo_works()
        assert len(node.instances()) == 20
        connection.close()
        assert completeness(node).startswith("released, 20 slices")


@pytest.mark.skipif(not find_orthanc(), reason="Orthanc is not installed")
def test_a_source_that_is_still_receiving_is_asked_again(
    start_node: NodeFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PACS that forwards while it receives lists more from question to question."""
    monkeypatch.setattr("dicomnode.receive.judge.SOONEST_QUESTION_SECONDS", 0.1)
    orthanc = OrthancPacs(tmp_path / "orthanc")
    orthanc.start()
    try:
        bring(orthanc.port, slices(range(12)))
        node = start_node(completeness=PATIENT, count_source=source_at(orthanc.port))
        send(node, range(10))
        until(lambda: "10 of the 12 instances that PACS lists came" in story(node))
        for uid in references(slices(range(10, 12))):
            _delete(orthanc, uid[1])
        assert completeness(node) == "the source PACS lists 10 instances, all kept"
    finally:
        orthanc.stop()


def _delete(orthanc: OrthancPacs, sop_instance_uid: str) -> None:
    address = f"http://127.0.0.1:{orthanc.http_port}"
    with urllib.request.urlopen(f"{address}/tools/lookup", sop_instance_uid.encode()) as found:
        (instance,) = json.load(found)
    request = urllib.request.Request(f"{address}{instance['Path']}", method="DELETE")
    urllib.request.urlopen(request).close()
