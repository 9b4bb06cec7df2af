"""Where a requestor's reactor thread is held while an answer is awaited: pynetdicom's, without its race.

pynetdicom 3.0.4 takes the reactor for held as soon as it comes to the checkpoint, although it may just have
been let through; it then takes the answer to a C-STORE off the queue, and the sender waits for its timeout.
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

    def set(self) -> None:
        """Let the reactor go on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Stop the reactor; returns when it is held, or has ended."""
        with self._changed:
            self._is_open = False
            if threading.current_thread() is self._association:
                return
            while not self._holds and self._association.is_alive():
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
