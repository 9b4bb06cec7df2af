"""Whatever is asked of a worker of the cluster: the answer is the local worker's, to the byte."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from benchmarks.ray_machines import RayMachine
from dicomnode.assemble.assemble import assemble_series
from dicomnode.cluster.supervisor import ClusterSupervisor
from dicomnode.correct.job import CorrectionJob
from dicomnode.demo.read_back import segment_masks
from dicomnode.measure.priors import Findings, SearchRemark
from dicomnode.report.result_set import DocumentReference, FurtherResults, ResultKind
from dicomnode.supervisor import Supervisor, WorkerError
from tests.assemble.ct_series import write_series
from tests.correct.viewer import LABELS, save

CONFIG = "0" * 64
SETTINGS = ("medip_unet2d", "cpu", 120.0)
FURTHER = FurtherResults(frozenset({ResultKind.PDF}))
PREDECESSOR = DocumentReference("1.2.3", "2.25.1", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.2")
FOUND = Findings(None, ("ledger",), (), (SearchRemark.TOO_OLD,))


@pytest.fixture(scope="module")
def head(machines: Callable[..., RayMachine]) -> RayMachine:
    head = machines(1, clients=True)
    head.start()
    return head


@pytest.fixture(scope="module")
def local() -> Iterator[Supervisor]:
    supervisor = Supervisor(*SETTINGS, further=FURTHER)
    yield supervisor
    supervisor.stop()


@pytest.fixture(scope="module")
def cluster(head: RayMachine) -> Iterator[ClusterSupervisor]:
    supervisor = ClusterSupervisor(head.address, 1, *SETTINGS, further=FURTHER)
    supervisor.warm_up()
    yield supervisor
    supervisor.stop()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_series_and_what_is_said_on_the_way(
    cluster: ClusterSupervisor, local: Supervisor, chest: list[Path], tmp_path: Path
) -> None:
    stages: dict[str, list[str]] = {}
    analyses = []
    for name, supervisor in (("here", local), ("there", cluster)):
        told: list[str] = stages.setdefault(name, [])
        analyses.append(
            supervisor.analyze(
                chest,
                tmp_path / name,
                CONFIG,
                PREDECESSOR,
                progress=lambda stage, _fraction, told=told: told.append(stage),  # type: ignore[misc]
                priors=lambda: FOUND,
            )
        )
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert {"seg.dcm", "sr.dcm", "report.pdf.dcm"} & contents(tmp_path / "there").keys()
    here, there = analyses
    assert [file.path.name for file in here.results.files] == [file.path.name for file in there.results.files]
    assert all(file.path.is_relative_to(tmp_path / "there") for file in there.results.files)
    assert here.cost.step_seconds.keys() == there.cost.step_seconds.keys()
    assert set(stages["here"]) == set(stages["there"])


def test_a_refusal(cluster: ClusterSupervisor, local: Supervisor, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", count=3)
    refusals = [
        supervisor.analyze(paths, tmp_path / name, CONFIG).refusal
        for name, supervisor in (("here", local), ("there", cluster))
    ]
    assert refusals[0] == refusals[1] is not None
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_a_correction_and_what_is_kept_of_it_for_training(
    cluster: ClusterSupervisor, local: Supervisor, chest: list[Path], tmp_path: Path
) -> None:
    local.analyze(chest, tmp_path / "first", CONFIG)
    lungs = segment_masks(dcmread(tmp_path / "first" / "seg.dcm"), assemble_series(chest))
    ground_glass = lungs[next(key for key in lungs if key[0] == "112120")]
    kept = ground_glass & (np.arange(len(ground_glass)) % 2 == 0)[:, None, None]
    edited = save(chest, {LABELS["ggo"]: kept}, tmp_path / "edited.dcm")
    assert cluster.recognize([edited], []) == local.recognize([edited], [])
    for name, supervisor in (("here", local), ("there", cluster)):
        job = CorrectionJob(
            tuple(chest),
            (edited,),
            base=tmp_path / "first" / "seg.dcm",
            training_directory=tmp_path / f"training-{name}",
        )
        assert supervisor.correct(job, tmp_path / name, CONFIG, PREDECESSOR, priors=lambda: FOUND).results
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    training = contents(tmp_path / "training-here")
    assert len(training) == 3
    assert training == contents(tmp_path / "training-there")


def test_a_broken_file_is_told_as_here(cluster: ClusterSupervisor, local: Supervisor, tmp_path: Path) -> None:
    first, *others = write_series(tmp_path / "ct", count=4)
    header = dcmread(first)
    del header.SOPInstanceUID
    header.save_as(first)
    told = []
    for supervisor in (local, cluster):
        with pytest.raises(WorkerError) as caught:
            supervisor.analyze([first, *others], tmp_path / "out", CONFIG)
        told.append(str(caught.value))
    assert told[0] == told[1]
    first.unlink()
    with pytest.raises(WorkerError, match="a file can't be read: No such file"):
        cluster.analyze([first, *others], tmp_path / "out", CONFIG)


def test_a_worker_killed_at_work_costs_an_attempt_and_leaves_nothing(
    cluster: ClusterSupervisor, head: RayMachine, chest: list[Path], tmp_path: Path
) -> None:
    """First the process that computes, then the actor that keeps it."""
    for word, told in (("dicomnode.worker", "killed by signal 9"), ("ray::SeriesWorker", "lost")):
        cluster.warm_up()
        killed: list[int] = []

        def kill(stage: str, _fraction: float, word: str = word, killed: list[int] = killed) -> None:
            if stage == "lungs" and not killed:
                killed.extend(head.pids(word))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)

        with pytest.raises(WorkerError, match=told):
            cluster.analyze(chest, tmp_path / "killed", CONFIG, progress=kill)
        assert len(killed) == 1
    cluster.warm_up()
    assert cluster.analyze(chest, tmp_path / "out", CONFIG).refusal is None
    assert not list(Path(tempfile.gettempdir()).glob("dicomnode-series-*")), "images of a patient are left"


def test_who_finds_no_place_waits_until_another_gives_one_back(
    cluster: ClusterSupervisor, head: RayMachine, local: Supervisor, chest: list[Path], tmp_path: Path
) -> None:
    """The last in the row is outside of the cluster and comes by ``ray://``."""
    cluster.warm_up()  # has the only CPU
    second = ClusterSupervisor(head.address, 1, *SETTINGS)
    assert not second.is_ready()
    assert second.why_not == "no machine of the cluster has 1 CPUs for a worker free"
    assert second.capacity() == 1
    second.stop()
    cluster.stop()
    outside = ClusterSupervisor(f"ray://127.0.0.1:{head.client_port}", 1, *SETTINGS, further=FURTHER)
    deadline = time.monotonic() + 300
    try:
        while not outside.is_ready():
            assert time.monotonic() < deadline, outside.why_not
        outside.analyze(chest, tmp_path / "there", CONFIG, priors=lambda: FOUND)
    finally:
        outside.stop()
    local.analyze(chest, tmp_path / "here", CONFIG, priors=lambda: FOUND)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
