"""The front door alone, in a process of its own: storage SCP, spool, ledger and what observes them.

python -m benchmarks.receive_node DIRECTORY SETTINGS

Prints its port, serves until standard input ends. SETTINGS is JSON with fields of
:class:`dicomnode.receive.server.ServerSettings`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dicomnode.assemble.decoders import decodable_transfer_syntaxes
from dicomnode.audit.audit_file import AuditFile
from dicomnode.audit.trail import AuditTrail
from dicomnode.logs import configure_logging
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.receive.series_log import SeriesLog
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.spool import Spool
from dicomnode.spool.statistics import Statistics
from dicomnode.web.metrics import Metrics


def main() -> None:
    """Serve as the node does with metrics, audit trail and log."""
    directory, fields = Path(sys.argv[1]), json.loads(sys.argv[2])
    configure_logging("INFO", "text")
    spool = Spool(directory, minimum_free_bytes=1 << 30)
    spool.recover()
    observers = (
        SeriesLog(spool.ledger, identifiers=False),
        AuditTrail(AuditFile(directory / "audit.log"), "DICOMNODE"),
        Metrics(Statistics(spool.ledger.database)),
    )
    settings = ServerSettings(
        "DICOMNODE",
        "127.0.0.1",
        0,
        completeness=CompletenessSettings(quiet_seconds=30, deadline_seconds=60),
        **fields,
    )
    server = StorageServer(settings, spool, decodable_transfer_syntaxes(), observers)
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()
    server.stop(drain_seconds=0)
    spool.close()


if __name__ == "__main__":
    main()
