"""What travels to the cluster and back, and what is turned away."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ray_machines import RayMachine
from dicomnode.cluster.choice import make_supervisor
from dicomnode.cluster.errand import pack, unpack
from dicomnode.cluster.errors import ClusterError
from dicomnode.cluster.identity import Identity
from dicomnode.cluster.parcel import Parcel
from dicomnode.cluster.supervisor import ClusterSupervisor
from dicomnode.config_sections import Analysis
from dicomnode.supervisor import Supervisor, WorkerError


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_files_of_one_name_keep_apart_and_in_order(tmp_path: Path) -> None:
    paths = [write(tmp_path / folder / "1.dcm", folder.encode()) for folder in ("b", "a", "")]
    away, parcel = pack({"command": "analyze", "paths": [str(path) for path in paths], "out": "/home/out"})
    assert str(tmp_path) not in str(away)
    request = unpack(away, parcel, tmp_path / "far")
    assert [Path(path).read_bytes() for path in request["paths"]] == [b"b", b"a", b""]
    assert all(Path(path).name == "1.dcm" for path in request["paths"])
    assert Path(request["out"]) == tmp_path / "far" / "out"


def test_what_is_below_a_folder(tmp_path: Path) -> None:
    files = {"out/seg.dcm": b"seg", "training/ct": b"", "outer": b"x", "out/deep/sr.dcm": b"report"}
    parcel = Parcel.of([(name, write(tmp_path / name, content)) for name, content in files.items()])
    parcel.below("out").unpack(tmp_path / "home")
    home = tmp_path / "home"
    found = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert found == {"seg.dcm": b"seg", "deep/sr.dcm": b"report"}


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "", "a//b", "./a", "a\0b"])
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    with pytest.raises(ClusterError, match="leads out of its folder"):
        Parcel((name,), (1,), np.zeros(1, np.uint8))


@pytest.mark.parametrize(("names", "ends", "size"), [("ab", (2, 1), 1), ("aa", (1, 2), 2), ("a", (1, 2), 2)])
def test_a_list_that_contradicts_itself(names: str, ends: tuple[int, ...], size: int) -> None:
    with pytest.raises(ClusterError, match="contradicts itself"):
        Parcel(tuple(names), ends, np.zeros(size, np.uint8))


def test_a_parcel_that_was_cut_short() -> None:
    with pytest.raises(ClusterError, match="3 bytes where its list says 4"):
        Parcel(("a",), (4,), np.zeros(3, np.uint8))


def test_another_code_or_model_is_turned_away() -> None:
    own = Identity.here("medip_unet2d")
    assert own == Identity.here("medip_unet2d")
    assert not own.difference(replace(own, host="elsewhere"))
    other = replace(own, host="elsewhere", code_sha256="0" * 64)
    assert "elsewhere runs other code" in own.difference(other)
    assert "other models" in own.difference(Identity.here("no_such_model"))


def test_the_configuration_chooses() -> None:
    assert type(make_supervisor(Analysis())) is Supervisor
    assert isinstance(make_supervisor(Analysis(cluster="ray://192.0.2.1:10001")), ClusterSupervisor)


def test_a_cluster_that_is_not_there_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    nobody = RayMachine(0)  # a free port
    supervisor = ClusterSupervisor(nobody.address, 1, "medip_unet2d", "cpu", 60.0)
    with caplog.at_level(logging.WARNING):
        assert not supervisor.is_ready()
        supervisor.tell({"notice": "slice", "series": "1", "path": "1.dcm"})
        assert not supervisor.is_ready()
    assert supervisor.starts == 1
    supervisor.stop()
    (record,) = caplog.records
    assert "doesn't answer: Connection refused; complete series wait" in record.getMessage()
    assert not supervisor.model_loaded


def test_without_ray_the_sentence_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['ray'] = None; sys.argv = ['x', '--address', '192.0.2.1:1', '--cpus', '1', "
        "'--timeout-seconds', '1']; from dicomnode.cluster.client import main; main()"
    )
    supervisor = Supervisor("medip_unet2d", "cpu", 60.0, (sys.executable, "-c", program))
    with pytest.raises(WorkerError, match=r"Ray is not installed: pip install 'dicomnode\[cluster\]'"):
        supervisor.warm_up()
    supervisor.stop()
