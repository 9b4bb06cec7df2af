"""What the conformance statement says is accepted, negotiated with a real storage server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import _STORAGE_CLASSES

from dicomnode.assemble.decoders import decodable_transfer_syntaxes
from dicomnode.conformance.network import ALL_STORAGE
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.spool import Spool
from tests.conftest import REPOSITORY

CONTEXTS_OF_AN_ASSOCIATION = 128
VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StorageServer]:
    """As the node sets it up."""
    spool = Spool(tmp_path / "spool")
    running = StorageServer(ServerSettings("DICOMNODE", "127.0.0.1", 0), spool, decodable_transfer_syntaxes())
    running.start()
    yield running
    running.stop(drain_seconds=0)
    spool.close()


def section(heading: str) -> str:
    """The part of the statement on the storage SCP from a heading to the next."""
    text = (REPOSITORY / "docs" / "conformance.md").read_text(encoding="utf-8")
    acceptor = text.split("\n### AE specification: storage SCP\n")[1]
    return acceptor.split(f"\n#### {heading}\n")[1].split("\n#### ")[0]


def first_table(heading: str) -> list[dict[str, str]]:
    """Its rows by the names of the columns."""
    text = section(heading).strip().split("\n\n")[0]
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


def accepted_pairs(port: int, pairs: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Pairs of abstract and transfer syntax that the server accepts, each in a context of its own."""
    found: set[tuple[str, str]] = set()
    for start in range(0, len(pairs), CONTEXTS_OF_AN_ASSOCIATION):
        entity = AE("TEST")
        chunk = pairs[start : start + CONTEXTS_OF_AN_ASSOCIATION]
        contexts = [build_context(abstract, transfer) for abstract, transfer in chunk]
        association = entity.associate("127.0.0.1", port, contexts=contexts, ae_title="DICOMNODE")
        assert association.acceptor.primitive is not None, "no answer"
        found |= {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
        association.release()
    return found


def test_the_statement_lists_just_what_is_accepted(server: StorageServer) -> None:
    classes = {row["SOP class"]: row["UID"] for row in first_table("SOP classes")}
    storage = [name for name in classes if name.endswith(" Storage")]
    stated = {
        (classes[name], row["UID"])
        for row in first_table("Association acceptance")
        for column, answer in row.items()
        for name in (storage if column == ALL_STORAGE else column.split(", "))
        if answer == "yes"
    }
    assert {uid for uid, _ in stated} == set(classes.values())

    known = {VERIFICATION, *map(str, _STORAGE_CLASSES.values()), *classes.values()}
    assert len(known) > 150
    syntaxes = {*map(str, AllTransferSyntaxes), *(syntax for _, syntax in stated)}
    assert accepted_pairs(server.port, sorted(itertools.product(known, syntaxes))) == stated
