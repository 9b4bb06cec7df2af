"""The systemd files, examined by systemd's own tools; no service manager is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SYSTEMD = REPOSITORY / "systemd"
UNIT = SYSTEMD / "dicomnode.service"
DROP_INS = sorted((SYSTEMD / "drop-ins").glob("*.conf"))
WORST_EXPOSURE = 1.5


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed (package systemd)")
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)


def exposure(unit: Path) -> float:
    told = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert found, told
    return float(found[1])


@pytest.fixture
def installed_unit(tmp_path: Path) -> Path:
    """The unit with an ExecStart that exists here."""
    path = tmp_path / UNIT.name
    program = f"ExecStart={sys.executable} -m dicomnode.cli serve"
    path.write_text(
        re.sub(r"ExecStart=\S+ serve", program, UNIT.read_text(encoding="utf-8")), encoding="utf-8"
    )
    return path


def test_hardening_is_as_good_as_promised() -> None:
    assert exposure(UNIT) <= WORST_EXPOSURE


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.stem)
def test_drop_ins_are_sound_and_keep_the_hardening(installed_unit: Path, drop_in: Path) -> None:
    # After the last assignment of the unit, as systemd reads a drop-in.
    text = installed_unit.read_text(encoding="utf-8") + "\n" + drop_in.read_text(encoding="utf-8")
    installed_unit.write_text(text, encoding="utf-8")
    assert exposure(installed_unit) <= WORST_EXPOSURE
    assert_verified(installed_unit)


def test_the_unit_is_sound(installed_unit: Path) -> None:
    assert_verified(installed_unit)


def assert_verified(unit: Path) -> None:
    checked = run("systemd-analyze", "verify", "--man=no", unit)
    complaints = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert checked.returncode == 0, checked.stderr
    assert not complaints


def test_verification_finds_a_mistake(installed_unit: Path) -> None:
    installed_unit.write_text(
        installed_unit.read_text(encoding="utf-8").replace("KillMode=", "KilMode="), encoding="utf-8"
    )
    assert "KilMode" in run("systemd-analyze", "verify", "--man=no", installed_unit).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
def test_user_and_directories_are_made(tmp_path: Path) -> None:
    root = tmp_path / "root"
    shipped = root / "opt/dicomnode/share/dicomnode/dicomnode.toml"
    shipped.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / "config" / "dicomnode.toml", shipped)
    (root / "etc").mkdir()
    users = run("systemd-sysusers", f"--root={root}", SYSTEMD / "dicomnode.sysusers")
    assert users.returncode == 0, users.stderr
    (entry,) = re.findall("^dicomnode:.*$", (root / "etc/passwd").read_text(encoding="utf-8"), re.MULTILINE)
    assert entry.endswith(":/var/lib/dicomnode:/usr/sbin/nologin")
    made = run("systemd-tmpfiles", f"--root={root}", "--create", SYSTEMD / "dicomnode.tmpfiles")
    assert made.returncode == 0, made.stderr
    user = int(entry.split(":")[2])
    expected = {
        "etc/dicomnode": (0o750, 0),
        "etc/dicomnode/tls": (0o700, 0),
        "etc/dicomnode/dicomnode.toml": (0o640, 0),
        "var/lib/dicomnode": (0o700, user),
        "var/log/dicomnode": (0o750, user),
    }
    found = {name: ((root / name).stat().st_mode & 0o777, (root / name).stat().st_uid) for name in expected}
    assert found == expected
    # An upgrade leaves the configuration alone.
    (root / "etc/dicomnode/dicomnode.toml").write_text("[node]\nport = 104\n", encoding="utf-8")
    run("systemd-tmpfiles", f"--root={root}", "--create", SYSTEMD / "dicomnode.tmpfiles")
    assert "port = 104" in (root / "etc/dicomnode/dicomnode.toml").read_text(encoding="utf-8")
