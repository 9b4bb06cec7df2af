"""How a process that computes shares the machine: memory it keeps, threads that don't spin."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_HEAP_BLOCK = 32 << 20  # glibc takes no more
_KEPT = 512 << 20

QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads of OpenMP that wait asleep: spinning ones take the cores that another process computes on."""


def quiet_threads() -> dict[str, str]:
    """This process's environment for one that computes; what is set already stands."""
    return QUIET_THREADS | os.environ


def keep_freed_memory() -> None:
    """Let the C library reuse what arrays free instead of asking Linux, which fills each page with zeros."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK)
        mallopt(_TRIM_THRESHOLD, _KEPT)
