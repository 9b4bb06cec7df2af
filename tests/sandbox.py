"""Runs a command under the system call filter and memory rules of a systemd unit, without systemd.

``python tests/sandbox.py UNIT COMMAND...``: SystemCallFilter, MemoryDenyWriteExecute and NoNewPrivileges as
the unit has them, by libseccomp, which systemd uses itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

ALLOW = 0x7FFF0000
DENY = 0x00050000 | errno.EPERM
MASKED_EQ = 7
PROT_WRITE, PROT_EXEC = 2, 4
PR_SET_NO_NEW_PRIVS = 38


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def settings(unit: Path) -> list[tuple[str, str]]:
    """Every assignment of the unit, in order."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def expand(name: str) -> set[str]:
    """The system calls of a group such as ``@system-service``, as systemd knows them."""
    if not name.startswith("@"):
        return {name}
    command = ["systemd-analyze", "syscall-filter", "--no-pager", name]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    members = [line.strip() for line in told.splitlines()[1:]]
    return set().union(*(expand(member) for member in members if member and not member.startswith("#")))


def allowed_system_calls(unit: Path) -> set[str]:
    """What the unit's SystemCallFilter lines leave, in their order; and what systemd always allows."""
    allowed = expand("@default")
    for key, value in settings(unit):
        if key == "SystemCallFilter":
            names = set().union(*(expand(name) for name in value.removeprefix("~").split()))
            allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


def restrict(unit: Path) -> None:
    """Restrict this process, and all it will ever start, for good."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    calls, wanted = allowed_system_calls(unit), dict(settings(unit))
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

    def rule(filter_: int, action: int, name: str, *comparisons: _Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            array = (_Comparison * len(comparisons))(*comparisons)
            arguments = (ctypes.c_void_p(filter_), ctypes.c_uint32(action), number, len(comparisons), array)
            assert library.seccomp_rule_add_array(*arguments) == 0, name

    filters = []
    if wanted.get("MemoryDenyWriteExecute") == "yes":
        filters.append(library.seccomp_init(ctypes.c_uint32(ALLOW)))
        both = PROT_WRITE | PROT_EXEC
        rule(filters[-1], DENY, "mmap", _Comparison(2, MASKED_EQ, both, both))
        for name in ("mprotect", "pkey_mprotect"):
            rule(filters[-1], DENY, name, _Comparison(2, MASKED_EQ, PROT_EXEC, PROT_EXEC))
    filters.append(library.seccomp_init(ctypes.c_uint32(DENY)))
    for name in sorted(calls | {"seccomp"}):
        rule(filters[-1], ALLOW, name)
    for filter_ in filters:
        assert library.seccomp_load(ctypes.c_void_p(filter_)) == 0


if __name__ == "__main__":
    restrict(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
