"""What others see of the node: the audit trail and the log of identifiers."""

from __future__ import annotations

from dicomnode.audit.audit_file import AuditFile
from dicomnode.audit.trail import AuditTrail
from dicomnode.config import Config
from dicomnode.receive.identifier_log import IdentifierLog
from dicomnode.receive.observer import ReceiveObserver
from dicomnode.spool.ledger import Ledger


class Monitoring:
    """Built from the configuration; what it doesn't ask for isn't there."""

    def __init__(self, config: Config, ledger: Ledger) -> None:
        observers: list[ReceiveObserver] = []
        self.audit: AuditTrail | None = None
        if config.log.audit_file is not None:
            self.audit = AuditTrail(AuditFile(config.log.audit_file), config.node.ae_title)
            observers.append(self.audit)
        if config.log.identifiers:
            observers.append(IdentifierLog(ledger))
        self.observers = tuple(observers)

    def start(self) -> None:
        """The node begins its work."""
        if self.audit is not None:
            self.audit.started()

    def stop(self) -> None:
        """The node has ended its work."""
        if self.audit is not None:
            self.audit.stopped()
