"""`dicomnode cohort --cluster`: the rows of an archive are the same, whoever measures them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from benchmarks.ray_machines import RayMachine
from dicomnode.cli import main
from tests.assemble.ct_series import write_series

TABLES = ("cohort.csv", "cohort.parquet", "not_measured.csv")
COMMON = ["--device", "cpu", "--model", "medip_unet2d"]


@pytest.fixture
def archive(chest: list[Path], tmp_path: Path) -> Path:
    """A chest and four series that are refused within milliseconds."""
    folder = tmp_path / "archive"
    shutil.copytree(chest[0].parent, folder / "chest")
    for number in range(4):

        def edit(_index: int, dataset: Dataset, number: int = number) -> None:
            dataset.SeriesInstanceUID = f"1.2.826.0.1.3680043.9.7.{number}"
            dataset.SOPInstanceUID += f".{number}"

        write_series(folder / str(number), count=3, edit=edit)
    return folder


def tables(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in TABLES]


def test_rows_are_the_same_wherever_they_are_measured(
    machines: Callable[..., RayMachine],
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DICOMNODE_ANALYSIS__RUNTIME", "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(["cohort", str(archive), "--out", str(tmp_path / "here"), *COMMON]) == 0
    head = machines(2)
    head.start()
    there = tmp_path / "there"
    command = ["cohort", str(archive), "--out", str(there), *COMMON]
    command += ["--cluster", head.address, "--cluster-cpus", "1"]

    # Killed in its first series, the command leaves no worker behind and goes on where it was.
    process = subprocess.Popen(
        [sys.executable, "-m", "dicomnode.cli", *command, "--jobs", "1"], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not head.pids("dicomnode.worker"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while head.pids("dicomnode.worker") or head.pids("ray::SeriesWorker"):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    capsys.readouterr()
    assert main(command) == 0, "as many at once as the cluster has places for: two"
    assert "CT series: 1 measured, 4 refused, 0 failed" in capsys.readouterr().out
    assert tables(there) == tables(tmp_path / "here")
    head.kill()
    assert main(command) == 0, "all is done, nobody is asked"
    assert "0 analyzed in this run" in capsys.readouterr().out

    assert main([*command[:3], str(tmp_path / "new"), *command[4:]]) == 1
    assert "doesn't answer: Connection refused; 5 series are left" in capsys.readouterr().err


def test_an_address_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "archive", count=3)
    command = ["cohort", str(tmp_path / "archive"), "--out", str(tmp_path / "out"), "--cluster", "head"]
    assert main(command) == 1
    assert "a cluster is written HOST:PORT or ray://HOST:PORT" in capsys.readouterr().err
