"""What can go wrong in the spool."""

from __future__ import annotations


class SpoolError(Exception):
    """The spool can't do what was asked; the message says why and what to do."""


class SpoolInUseError(SpoolError):
    """Another process has the spool open."""


class SpoolFullError(SpoolError):
    """There is no room for another instance (C-STORE status A700)."""


class LedgerError(SpoolError):
    """The ledger refuses what was asked."""


class LedgerUnavailableError(LedgerError):
    """The file of the ledger can't be read or written now; the same call may work later."""


class SupersededError(LedgerError):
    """Late slices made a newer generation of the series; what was computed from the old one is obsolete."""
