"""Whom the node calls back, from its configuration: whether they answer to a check, and that TLS works."""

from __future__ import annotations

from pathlib import Path

from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicomnode.callback import count_source_peer, senders
from dicomnode.checkup import _check_called_back
from dicomnode.config import Config
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.spool import Spool
from dicomnode.tls import server_tls
from tests.certificates import House
from tests.dicom_network import DECODABLE, Node, free_port, until
from tests.receive.commitment_peers import Heard, ask, reachable_sender, references, sender, slices, store


def config(port: int, **tls: str) -> Config:
    source: dict[str, object] = {"ae_title": "SCANNER", "host": "127.0.0.1", "port": port}
    if tls:
        source["tls"] = tls
    return Config(
        source=(source,),  # type: ignore[arg-type]
        series={"count_source": f"SCANNER@127.0.0.1:{port}"},  # type: ignore[arg-type]
    )


def test_check_tells_who_answers() -> None:
    entity = AE("SCANNER")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        port = server.socket.getsockname()[1]
        findings = [(one.subject, one.severity) for one in _check_called_back(config(port))]
        assert findings == [("source SCANNER", "ok"), ("count_source", "ok")]
    finally:
        server.shutdown()
    findings = [(one.subject, one.severity) for one in _check_called_back(config(free_port()))]
    assert findings == [("source SCANNER", "note"), ("count_source", "note")]


def test_a_report_goes_out_by_tls(house: House, tmp_path: Path) -> None:
    heard, sent, ca = Heard(), slices(range(3)), house.hospital.ca
    context = server_tls(house.scanner.cert, house.scanner.key, ca, require_client=True)
    with reachable_sender(0, heard, tls=context) as port:
        there = config(port, cert=str(house.node.cert), key=str(house.node.key), ca=str(ca))
        peer = count_source_peer(there)
        assert peer is not None and peer.tls is not None
        spool = Spool(tmp_path / "spool")
        server = StorageServer(
            ServerSettings("DICOMNODE", "127.0.0.1", 0), spool, DECODABLE, call_back=senders(there)
        )
        server.start()
        try:
            with sender(Node(server, spool)) as association:
                store(association, sent)
                ask(association, references(sent))
            assert heard.next()[1].committed == references(sent)
            until(lambda: not spool.ledger.asked_by_others.waiting())
        finally:
            server.stop(drain_seconds=0)
            spool.close()
