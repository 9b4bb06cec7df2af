"""A node that is told to speak Japanese, to send label maps, and to tell a FHIR server, too."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.assemble.assemble import assemble_series
from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.pacs import SmallPacs
from dicomnode.demo.read_back import LOBES, reported_values, segment_masks
from dicomnode.report.label_map import LABEL_MAP_STORAGE
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from tests.deliver.web_server import Reply, WebServer, web_server

KINDS = ("seg", "sr", "labelmap", "pdf", "overlay", "ko")
REPORT = """[report]
seg = "labelmap"
language = "ja"
"""
FURTHER = """
deflate = true
[fhir]
url = "{url}"
"""
PATIENCE_SECONDS = 300.0


@pytest.fixture(scope="module")
def fhir_server() -> Iterator[WebServer]:
    with web_server() as server:
        server.reply = Reply(200, b'{"resourceType": "Bundle"}', {"Content-Type": "application/fhir+json"})
        yield server


@pytest.fixture(scope="module")
def stored(
    fhir_server: WebServer, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """What reached the PACS of one CT, by SOP class."""
    directory = tmp_path_factory.mktemp("house")
    pacs = SmallPacs(directory / "pacs")
    pacs.start()
    node = NodeProcess(directory / "node", pacs.ae_title, pacs.port, "cpu", quiet_seconds=1.0, kinds=KINDS)
    config = node.config_path.read_text(encoding="utf-8").replace("[report]\n", REPORT)
    config = config.replace('"labelmap", ', "", 1)  # of include: seg asks for it
    node.config_path.write_text(config + FURTHER.format(url=fhir_server.url), encoding="utf-8")
    node.start()
    try:
        files = sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))
        address = ["-aec", node.peer.ae_title, "127.0.0.1", str(node.port)]
        subprocess.run(["storescu", *address, *map(str, files)], check=True)
        _wait_until_delivered(node)
    finally:
        node.stop()
        pacs.stop()
    found = {}
    for path in (directory / "pacs").rglob("*"):
        if path.is_file():
            found[str(dcmread(path, stop_before_pixels=True).SOPClassUID)] = path
    return found


def _wait_until_delivered(node: NodeProcess) -> None:
    ledger = Ledger(node.spool_directory / LEDGER_NAME)
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while not any(s.state == "delivered" for s in ledger.list_series()) or ledger.outbox.backlog():
            assert node.is_alive, node.last_line()
            assert time.monotonic() < deadline, ledger.list_series()
            time.sleep(0.05)
    finally:
        ledger.close()


SEG, SR, PDF, SC, KO = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.88.59",
)


def test_the_pacs_gets_every_kind_that_it_accepts(stored: dict[str, Path]) -> None:
    assert stored.keys() == {SEG, LABEL_MAP_STORAGE, SR, PDF, SC, KO}
    overlay = [dcmread(path, stop_before_pixels=True) for path in stored[SR].parent.iterdir()]
    slices = [int(one.InstanceNumber) for one in overlay if one.SOPClassUID == SC]
    assert sorted(slices) == list(range(1, len(slices) + 1)) and len(slices) > 20


def test_the_label_map_is_the_binary_segmentation(stored: dict[str, Path], data_dir: Path) -> None:
    volume = assemble_series(sorted((data_dir / "cip_ct64_chest").glob("*.dcm")))
    masks = segment_masks(dcmread(stored[SEG]), volume)
    label_map = dcmread(stored[LABEL_MAP_STORAGE])
    counted = np.bincount(label_map.pixel_array.ravel(), minlength=256)
    of_lobe = dict.fromkeys(LOBES.values(), 0)
    for item in label_map.SegmentSequence:
        sites = item.get("AnatomicRegionSequence") or item.SegmentedPropertyTypeCodeSequence
        of_lobe[LOBES[_kind(sites[0])]] += int(counted[item.SegmentNumber])
    assert of_lobe == {lobe: int(masks[kind].sum()) for kind, lobe in LOBES.items()}
    assert counted[1:].sum() == masks["39607008", "51440002"].sum()


def _kind(site: Dataset) -> tuple[str, str]:
    modifiers = site.get("AnatomicRegionModifierSequence") or site.get(
        "SegmentedPropertyTypeModifierCodeSequence"
    )
    return str(site.CodeValue), str(modifiers[0].CodeValue) if modifiers else ""


def test_the_report_speaks_japanese(stored: dict[str, Path]) -> None:
    report = dcmread(stored[SR])
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert report.ConceptNameCodeSequence[0].CodeMeaning == "画像計測レポート"


def test_the_fhir_server_has_the_numbers_of_the_report(
    stored: dict[str, Path], fhir_server: WebServer
) -> None:
    (request,) = fhir_server.requests
    bundle = json.loads(request.body)
    values = {value.contract_path: value.value for value in reported_values(dcmread(stored[SR]))}
    (lungs,) = [
        entry["resource"]
        for entry in bundle["entry"]
        if entry["resource"].get("bodySite", {}).get("text") == "Lungs"
    ]
    numbers = {c["code"]["coding"][0]["code"]: c["valueQuantity"]["value"] for c in lungs["component"]}
    assert numbers["LESION_EXTENT"] == values["lesion_extent_percent",]
    assert numbers["CT_SCORE"] == values["ct_score",]
