"""A node that is killed after it has accepted a storage commitment request keeps its word."""

from __future__ import annotations

from pathlib import Path

from dicomnode.demo.node_process import NodeProcess
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from dicomnode.spool.states import SeriesState
from tests.dicom_network import free_port, until
from tests.receive.commitment_peers import (
    AE_TITLE,
    Heard,
    ask,
    reachable_sender,
    references,
    sender,
    slices,
    store,
)


def test_a_node_killed_twice_reports_and_goes_on(tmp_path: Path) -> None:
    heard, sent, port = Heard(), slices(range(20)), free_port()
    node = NodeProcess(tmp_path, "NOBODY", free_port(), device="cpu", quiet_seconds=300)
    with node.config_path.open("a", encoding="utf-8") as config:
        config.write(f'\n[[source]]\nae_title = "{AE_TITLE}"\nhost = "127.0.0.1"\nport = {port}\n')
    node.start()
    try:
        with sender(node) as association:
            store(association, sent)
            assert ask(association, references(sent)) == 0
            node.kill()
        node.start()
        node.kill()
        with reachable_sender(port, heard):
            node.start()
            event_type, report = heard.next()
        ledger = Ledger(node.spool_directory / LEDGER_NAME)
        try:
            until(lambda: not ledger.list_series(SeriesState.RECEIVING))
            (series,) = ledger.list_series()
        finally:
            ledger.close()
    finally:
        node.stop()
    assert (event_type, report.committed) == (1, references(sent))
    assert series.completeness == "storage commitment: the sender listed 20 instances, all kept"
    assert (series.generation, series.instances) == (1, 20)
