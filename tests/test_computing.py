"""Processes that compute: quiet threads, freed memory kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dicomnode.computing import keep_freed_memory, quiet_threads


def test_threads_wait_asleep_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert quiet_threads()["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert quiet_threads()["OMP_WAIT_POLICY"] == "ACTIVE"
    assert quiet_threads()["PATH"]


FAULTS = """
import resource, sys
import numpy as np
from dicomnode.computing import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
np.ones(2 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_memory_that_is_kept_is_not_filled_again() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)
        for how in ("kept", "given back")
    }
    assert faults["kept"] < 0.2 * faults["given back"]
    keep_freed_memory()  # twice is no error
