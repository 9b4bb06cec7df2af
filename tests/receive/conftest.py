"""Storage servers for the tests of the receiving room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dicomnode.receive.calling import Connect
from dicomnode.receive.count_source import Source
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.receive.observer import ReceiveObserver
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.spool import Spool
from tests.dicom_network import DECODABLE, Node, NodeFactory


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[NodeFactory]:
    """Start nodes on free ports; keywords are those of ServerSettings, and these two."""
    started: list[Node] = []
    quick = ServerSettings(
        "DICOMNODE", "127.0.0.1", 0, completeness=CompletenessSettings(quiet_seconds=0.3, deadline_seconds=60)
    )

    def start(
        minimum_free_bytes: int = 0,
        observers: Sequence[ReceiveObserver] = (),
        call_back: Mapping[str, Connect] | None = None,
        count_source: Source | None = None,
        **settings: object,
    ) -> Node:
        spool = Spool(tmp_path / f"spool-{len(started)}", minimum_free_bytes)
        spool.recover()
        server = StorageServer(
            replace(quick, **settings),  # type: ignore[arg-type]
            spool,
            DECODABLE,
            observers,
            call_back=call_back,
            count_source=count_source,
        )
        server.start()
        started.append(Node(server, spool))
        return started[-1]

    yield start
    for node in started:
        node.server.stop(drain_seconds=0)
        node.spool.close()


@pytest.fixture
def node(start_node: NodeFactory) -> Node:
    return start_node()


@pytest.fixture(scope="session")
def ricord(data_dir: Path) -> Sequence[Path]:
    """The slices of one chest CT in JPEG Lossless."""
    return sorted((data_dir / "ricord_covid_chest").rglob("*.dcm"))
