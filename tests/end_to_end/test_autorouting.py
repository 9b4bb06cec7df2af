"""Orthanc with the configuration that ships sends chest CT to the node and gets the results back."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.orthanc import OrthancPacs, find_orthanc, free_port
from dicomnode.demo.pacs_client import PacsClient
from tests.conftest import REPOSITORY


@pytest.fixture
def autorouting(tmp_path: Path) -> Iterator[tuple[OrthancPacs, NodeProcess]]:
    """config/orthanc.json and config/autorouting.lua with only ports and paths changed."""
    if find_orthanc() is None:
        pytest.skip("Orthanc is not installed")
    text = (REPOSITORY / "config" / "orthanc.json").read_text(encoding="utf-8")
    settings: dict[str, Any] = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    port = free_port()
    settings["DicomModalities"]["dicomnode"]["Port"] = port
    settings["LuaScripts"] = [str(REPOSITORY / "config" / "autorouting.lua")]
    settings["StableAge"] = 1
    pacs = OrthancPacs(tmp_path / "pacs", further=settings)
    pacs.start()
    node = NodeProcess(tmp_path / "node", pacs.ae_title, pacs.port, "cpu", quiet_seconds=1.0, port=port)
    node.start()
    yield pacs, node
    node.stop()
    pacs.stop()


def test_a_chest_ct_in_orthanc_is_answered_in_orthanc(
    autorouting: tuple[OrthancPacs, NodeProcess], data_dir: Path, tmp_path: Path
) -> None:
    pacs, node = autorouting
    files = []
    for path in sorted((data_dir / "cip_ct64_chest").glob("*.dcm")):
        dataset = dcmread(path)
        dataset.BodyPartExamined = "CHEST"
        files.append(tmp_path / path.name)
        dataset.save_as(files[-1])
    subprocess.run(
        ["storescu", "-aec", pacs.ae_title, "127.0.0.1", str(pacs.port), *map(str, files)], check=True
    )

    client, modalities = PacsClient(pacs.port, pacs.ae_title), {"CT"}
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and modalities != {"CT", "SEG", "SR"}:
        time.sleep(1)
        modalities = {series.modality for series in client.find_series(dataset.StudyInstanceUID)}

    assert modalities == {"CT", "SEG", "SR"}, node.last_line()
    log = node.log_path.read_text(encoding="utf-8")
    assert log.count("series analyzed") == 1, "results must not come back to the node as new work"
