"""Work while slices arrive: the answer is the one that the complete series gets without it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dicomnode.arriving_series import ArrivingSeries, lung_area_cm2
from dicomnode.early_work import EarlyWork
from dicomnode.phantom.build import Phantom, build_phantom
from dicomnode.phantom.series import write_series
from dicomnode.phantom.spec import PhantomSpec
from dicomnode.pipeline import Prepared, prepare_series
from dicomnode.report.record import measurements_record
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.segmenter import Segmenter
from dicomnode.supervisor import Supervisor
from tests.model_folder import density_network, make_model

PATIENCE = 60.0


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return build_phantom(PhantomSpec(seed=5, matrix=(84, 64, 64), spacing_mm=(4.8, 5.6, 5.6)))


@pytest.fixture(scope="module")
def paths(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(phantom, tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return Segmenter(LesionModel(make_model(tmp_path_factory.mktemp("model"), density_network())))


@pytest.fixture(scope="module")
def expected(paths: list[Path], segmenter: Segmenter) -> Prepared:
    return prepare_series(paths, segmenter)


def wait_for_prepared(early: EarlyWork, paths: Sequence[Path]) -> Prepared:
    deadline = time.monotonic() + PATIENCE
    while (prepared := early.prepared(paths)) is None and time.monotonic() < deadline:
        early.resume()
        time.sleep(0.02)
    assert prepared is not None
    return prepared


def assert_same(found: Prepared, expected: Prepared) -> None:
    assert np.array_equal(found.volume.hu, expected.volume.hu)
    assert found.volume.instances == expected.volume.instances
    for name in ("labels", "sides", "lobes"):
        assert np.array_equal(getattr(found.segmentation, name), getattr(expected.segmentation, name))
    assert found.segmentation.flags == expected.segmentation.flags
    assert measurements_record(found.measurements) == measurements_record(expected.measurements)


@pytest.mark.parametrize("order", ["from feet", "from head", "shuffled"])
def test_a_series_is_prepared_when_its_association_is_over(
    paths: list[Path], segmenter: Segmenter, expected: Prepared, order: str
) -> None:
    sent = list(paths if order == "from feet" else reversed(paths))
    if order == "shuffled":
        sent = [sent[i] for i in np.random.default_rng(1).permutation(len(sent))]
    early = EarlyWork(lambda: segmenter)
    for path in sent:
        early.notice("arrived", "s", str(path))
    early.notice("ended", "s")
    assert_same(wait_for_prepared(early, paths), expected)
    early.resume(paths)
    assert early.decoded.bytes_held == 0
    assert early.prepared(paths) is None


def test_late_slices_make_another_series_of_it(
    paths: list[Path], segmenter: Segmenter, expected: Prepared
) -> None:
    early = EarlyWork(lambda: segmenter)
    for path in paths[:-6]:
        early.notice("arrived", "s", str(path))
    early.notice("ended", "s")
    wait_for_prepared(early, paths[:-6])
    assert early.prepared(paths) is None
    early.resume()
    for path in paths[-6:]:
        early.notice("arrived", "s", str(path))
    early.notice("ended", "s")
    assert_same(wait_for_prepared(early, paths), expected)
    early.pause()


def test_nothing_begins_while_a_request_is_served(paths: list[Path], segmenter: Segmenter) -> None:
    early = EarlyWork(lambda: segmenter)
    early.pause()
    for path in paths:
        early.notice("arrived", "s", str(path))
    early.notice("ended", "s")
    early.wait_until_idle()
    assert early.decoded.bytes_held == 0
    early.resume()
    wait_for_prepared(early, paths)
    early.pause()


def test_work_on_another_series_stops_for_a_request(paths: list[Path], segmenter: Segmenter) -> None:
    early = EarlyWork(lambda: segmenter)
    for path in paths:
        early.notice("arrived", "s", str(path))
    early.notice("ended", "s")
    assert early.prepared([Path("other.dcm")]) is None
    early.wait_until_idle()
    early.resume()
    wait_for_prepared(early, paths)
    early.pause()


def test_a_file_that_comes_a_little_later_is_waited_for(
    paths: list[Path], segmenter: Segmenter, tmp_path: Path, expected: Prepared
) -> None:
    early = EarlyWork(lambda: segmenter)
    late = tmp_path / paths[-1].name
    wanted = [*paths[:-1], late]
    for path in wanted:
        early.notice("arrived", "s", str(path))
    early.notice("ended", "s")
    late.write_bytes(paths[-1].read_bytes())
    found = wait_for_prepared(early, wanted)
    assert np.array_equal(found.segmentation.labels, expected.segmentation.labels)
    early.pause()


def test_series_that_never_end_are_forgotten(paths: list[Path]) -> None:
    early = EarlyWork(lambda: None)
    for number in range(8):
        early.notice("arrived", f"s{number}", str(paths[number]))
    deadline = time.monotonic() + PATIENCE
    while early.decoded.bytes_held != 4 * 64 * 64 * 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert early.decoded.bytes_held == 4 * 64 * 64 * 2
    early.pause()


def test_lungs_are_seen_and_seen_to_lie_behind(paths: list[Path]) -> None:
    early = EarlyWork(lambda: None)
    series = ArrivingSeries()
    due = []
    for path in paths:
        series.arrived(path)
        series.pending.clear()
        series.decoded(path, early.decoded.add(path))
        due.append(series.is_due(series.last_arrival))
    first = due.index(True)
    assert first > 40
    assert not any(due[:first])
    assert lung_area_cm2(np.full((64, 64), -1000, np.int16), 0.3) == 0


def test_a_worker_that_worked_early_makes_the_same_bytes_and_so_does_its_successor(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "models" / "small", density_network())
    monkeypatch.setenv("DICOMNODE_MODELS", str(tmp_path / "models"))
    supervisor = Supervisor("small", "cpu", 300.0, runtime="torch")
    results = []
    for name in ("late", "early", "killed"):
        if name != "late":
            for path in paths:
                supervisor.tell({"notice": "arrived", "series": "s", "path": str(path)})
            supervisor.tell({"notice": "ended", "series": "s"})
        if name == "killed":
            supervisor.stop()
            supervisor.tell({"notice": "ended", "series": "s"})
        out = tmp_path / name
        analysis = supervisor.analyze(paths, out, "0" * 64)
        assert analysis.refusal is None
        results.append({path.name: path.read_bytes() for path in out.iterdir()})
    supervisor.stop()
    assert supervisor.starts == 2
    assert results[0].keys() >= {"seg.dcm", "sr.dcm", "measurements.json"}
    assert results[1] == results[0]
    assert results[2] == results[0]
