"""What a process and its children take, read from /proc; the machine; and dcmtk's programs."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Taken:
    """CPU seconds, bytes written to storage, and peak of resident bytes, all processes together."""

    cpu_seconds: float
    written_bytes: int
    peak_bytes: int


def family(roots: Iterable[int]) -> list[int]:
    """The processes and all that descend from them."""
    found = list(roots)
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(int(child) for child in task.read_text().split())
    return found


def forget_peaks(roots: Iterable[int]) -> None:
    """Let the peaks begin anew."""
    for pid in family(roots):
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def taken(roots: Iterable[int]) -> Taken:
    """Sums so far; the memory is since :func:`forget_peaks`, each process at its own peak."""
    cpu, written, peak = 0.0, 0, 0
    for pid in family(roots):
        with contextlib.suppress(OSError):
            cpu += cpu_seconds(pid)
            written += _field(f"/proc/{pid}/io", "write_bytes:")
            peak += _field(f"/proc/{pid}/status", "VmHWM:") * 1024
    return Taken(cpu, written, peak)


def cpu_seconds(pid: int, *, ended_children: bool = True) -> float:
    """Of a process, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended_children else 13])) / TICKS


def resident_bytes(pid: int) -> int:
    """What a process has in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def peak_bytes(pid: int) -> int:
    """Most that a process had in memory since its peak was forgotten."""
    return _field(f"/proc/{pid}/status", "VmHWM:") * 1024


def _field(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def processor() -> str:
    """The name of this machine's processor, else its kind."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def dcmtk(tool: str) -> str:
    """The path of a program of dcmtk's, not pynetdicom's of the same name beside the interpreter.

    Ends the program where it isn't installed.
    """
    beside = str(Path(sys.executable).parent)
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != beside]
    path = shutil.which(tool, path=os.pathsep.join(folders))
    if path is None:
        sys.exit(f"{tool} is not installed (package dcmtk)")
    return path
