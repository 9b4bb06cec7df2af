"""Names in the documents and in the alert rules are the names that the node serves, and vice versa."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from dicomnode.audit.audit_file import AuditFile
from dicomnode.spool.spool import Spool
from dicomnode.spool.statistics import Statistics
from dicomnode.web.metrics import Metrics
from dicomnode.web.node_figures import NodeFigures, WorkerFigures
from tests.conftest import REPOSITORY

ALERTS = REPOSITORY / "config" / "prometheus-alerts.yml"
DASHBOARD = REPOSITORY / "config" / "grafana-dashboard.json"


@pytest.fixture
def exposition(tmp_path: Path) -> Iterator[str]:
    """What a node with a GPU and an audit trail serves before anything has happened."""
    spool, audit = Spool(tmp_path / "spool"), AuditFile(tmp_path / "audit.xml")
    statistics = Statistics(spool.ledger.database)
    metrics = Metrics(statistics)
    workers = [WorkerFigures(3, True, 8 << 30), WorkerFigures(1, True)]
    metrics.register(NodeFigures("1.0", spool, statistics, ["pacs"], lambda: workers, audit))
    yield metrics.exposition()
    audit.close()
    spool.close()


def served(exposition: str) -> dict[str, str]:
    """Type by the name that is written in queries, the node's own only."""
    families = {
        family.name + "_total" * (family.type == "counter"): family.type
        for family in text_string_to_metric_families(exposition)
    }
    return {name: kind for name, kind in families.items() if name.startswith("dicomnode_")}


def test_the_document_lists_what_is_served(exposition: str) -> None:
    text = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(dicomnode_\w+)` \| (\w+) \| .+ \|$", text, flags=re.MULTILINE))
    assert documented == served(exposition)


def test_alerts_ask_for_what_is_served(exposition: str) -> None:
    text = ALERTS.read_text(encoding="utf-8")
    asked = set(re.findall(r"\bdicomnode_\w+", text))
    assert asked <= served(exposition).keys()
    assert {"dicomnode_oldest_undelivered_seconds", "dicomnode_audit_waiting_messages"} <= asked
    for name, label, value in re.findall(r'(dicomnode_\w+)\{(\w+)="(\w+)"\}', text):
        assert f'{name}{{{label}="{value}"}} 0.0' in exposition, "increase() must see it go from 0 to 1"


def test_the_dashboard_shows_all_that_is_served_and_nothing_else(exposition: str) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {
        re.sub(r"_bucket$", "", name) for query in queries for name in re.findall(r"\bdicomnode_\w+", query)
    }
    assert asked == served(exposition).keys()
    labels = {name for sample in samples(exposition) for name in sample.labels} | {"instance"}
    for query in queries:
        for selector in re.findall(r"\{([^}]*)\}", query):
            assert {part.split("=")[0].strip() for part in selector.split(",")} <= labels, query
        for names in re.findall(r"by \(([^)]*)\)", query):
            assert set(names.split(", ")) <= labels, query
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def samples(exposition: str) -> list[Sample]:
    """All samples, and one of each counter that has none before something happens."""
    known = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
    later = {"reason": "", "status": "", "destination": "", "outcome": "", "step": "", "stage": "", "le": ""}
    return [*known, Sample("later", later, 0.0)]


def test_restarts_and_gpu_memory(exposition: str) -> None:
    assert 'dicomnode_worker_restarts_total{worker="1"} 2.0' in exposition
    assert 'dicomnode_worker_restarts_total{worker="2"} 0.0' in exposition
    assert 'dicomnode_gpu_memory_bytes{worker="1"} 8.589934592e+09' in exposition
    assert 'dicomnode_gpu_memory_bytes{worker="2"}' not in exposition


def test_promtool_agrees(exposition: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (package prometheus)")
    run = subprocess.run(
        [promtool, "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    rules = subprocess.run(
        [promtool, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert rules.returncode == 0, rules.stdout + rules.stderr


def test_figures_without_a_ledger(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    statistics = Statistics(spool.ledger.database)
    metrics = Metrics(statistics)
    metrics.register(NodeFigures("1.0", spool, statistics, [], lambda: [], None))
    spool.ledger.database._connection.execute("PRAGMA foreign_keys = OFF")
    spool.ledger.database._connection.execute("DROP TABLE event")
    spool.ledger.database._connection.execute("DROP TABLE series")
    text = metrics.exposition()
    assert "dicomnode_ledger_available 0.0" in text
    assert "dicomnode_spool_free_bytes" in text
    assert "dicomnode_series{" not in text
    spool.close()
