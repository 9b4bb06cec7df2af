"""The node is ready before any model is loaded, and never loads one itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.orthanc import free_port
from tests.dicom_network import until

HEAVY = ("highdicom", "openvino", "ray", "reportlab", "SimpleITK", "torch")
"""What takes longer to import than the node takes to start; only workers need it."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    process = NodeProcess(tmp_path, "PACS", free_port(), "cpu")
    process.start()
    yield process
    process.stop()


def test_the_node_imports_nothing_heavy() -> None:
    code = f"import dicomnode.daemon, dicomnode.node, sys; print(sorted(sys.modules.keys() & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_node_that_is_ready_has_no_torch_and_its_worker_has(node: NodeProcess) -> None:
    assert "torch" not in Path(f"/proc/{node.pid}/maps").read_text()
    until(lambda: "model loaded" in node.log_path.read_text(encoding="utf-8"), seconds=60)
    assert "torch" not in Path(f"/proc/{node.pid}/maps").read_text()
    children = " ".join(
        task.read_text() for task in Path(f"/proc/{node.pid}/task").glob("*/children")
    ).split()
    assert any("torch" in Path(f"/proc/{child}/maps").read_text() for child in children)
