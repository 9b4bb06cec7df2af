"""Where a requestor's reactor thread is held while an answer is awaited: pynetdicom's, without its races.

pynetdicom 3.0.4 takes the reactor for held as soon as it comes to the checkpoint, although it may just have
been let through; it then takes the answer to a C-STORE off the queue, and the sender waits for its timeout.
The thread that serves an N-EVENT-REPORT says that the reactor is not held although it is; a release that
begins just then waits for ever.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association

_LOOK_SECONDS = 0.05


class Checkpoint:
    """Takes the place of an association's event; closing it waits until the reactor stands at it."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._changed = threading.Condition()
        self._is_open = True
        self._holds = False

    @property
    def holds(self) -> bool:
        """Whether the reactor can't take anything away: it stands here, has ended, or is who asks."""
        return (
            self._holds or threading.current_thread() is self._association or not self._association.is_alive()
        )

    def set(self) -> None:
        """Let the reactor go on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Stop the reactor; returns when it is held, or has ended."""
        with self._changed:
            self._is_open = False
            while not self.holds:
                self._changed.wait(_LOOK_SECONDS)

    def is_set(self) -> bool:
        """Whether the reactor is let through."""
        return self._is_open

    def wait(self, timeout: float | None = None) -> bool:
        """The reactor stands here until :meth:`set`."""
        with self._changed:
            while not self._is_open:
                self._holds = True
                self._changed.notify_all()
                self._changed.wait(timeout)
            self._holds = False
        return True


class CheckedAssociation(Association):  # type: ignore[misc]  # pynetdicom has no types here
    """An association whose reactor is held when its checkpoint says so, whatever other threads say."""

    _reactor_checkpoint: Checkpoint

    @property
    def _is_paused(self) -> bool:
        return self._reactor_checkpoint.holds

    @_is_paused.setter
    def _is_paused(self, value: bool) -> None:
        pass


def check_reactor(association: Association) -> None:
    """Give a requestor's established association the checkpoint without races."""
    association._reactor_checkpoint = Checkpoint(association)
    association.__class__ = CheckedAssociation
