"""What goes wrong with many series or patients at once."""

from __future__ import annotations


class CohortError(Exception):
    """The cohort can't be measured or the models can't be fitted; one sentence says why and what to do."""
