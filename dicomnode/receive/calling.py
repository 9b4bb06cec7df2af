"""How the front door calls others back: associations that the node opens, made by whoever wires the rooms."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext


class UnreachableError(Exception):
    """There is no association to be had; the message says why in a sentence that may be shown."""


class NoAnswerError(Exception):
    """The peer was not told, or didn't answer; the message may be shown."""


class Connect(Protocol):
    """Opens an association with one peer, and releases it at the end.

    Raises :class:`UnreachableError` if there is none to be had.
    """

    def __call__(
        self, contexts: Sequence[PresentationContext], roles: Sequence[SCP_SCU_RoleSelectionNegotiation]
    ) -> AbstractContextManager[Association]:
        """With these presentation contexts and roles proposed."""
