"""What goes wrong while results are made."""

from __future__ import annotations


class ReportError(Exception):
    """A result object can't be made or would not be trustworthy; the message says why and what to do.

    It names UIDs and attributes, never a patient.
    """
