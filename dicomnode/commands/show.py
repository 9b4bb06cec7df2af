"""show everything the node knows of one series

SERIES is the id that `dicomnode status` lists, or the beginning of it; or a UID: of the series, of one of its
instances, of one of its results or a result's series. "Made by" traces a result to model, weights,
configuration and input.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dicomnode.analysis import MEASUREMENTS_FILE, OVERVIEW_FILE
from dicomnode.commands.common import add_config_argument, read_config
from dicomnode.commands.status import open_ledger
from dicomnode.spool.records import SeriesDetails
from dicomnode.spool.spool import results_path
from dicomnode.terminal import console, print_json, print_table, when

COMPARED = ("lesion_volume_ml", "lesion_extent_percent", "lesion_weight_g", "ct_score", "ct_ss")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config_argument(parser)
    parser.add_argument("series", metavar="SERIES")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Print the series with its instances, results, deliveries and measurements."""
    with open_ledger(arguments) as ledger:
        details = ledger.show(arguments.series)
    spool_directory = read_config(arguments).spool.directory
    results = results_path(spool_directory, details.series.id, details.series.generation)
    measurements = _measurements(results)
    if arguments.json:
        print_json({**_as_json(details), "measurements": measurements, "directory": str(results)})
        return 0
    _print_details(details, results, measurements)
    return 0


def _print_details(details: SeriesDetails, results: Path, measurements: dict[str, Any] | None) -> None:
    series, out = details.series, console()
    out.print(f"[bold]Series {series.id}[/bold]: {series.state.value} since {when(series.state_since)}")
    for name, value in (
        ("reason", series.reason),
        ("detail", series.detail),
        ("complete", series.completeness),
        ("Study Instance UID", series.study_instance_uid),
        ("Series Instance UID", series.series_instance_uid),
        ("instances", f"{series.instances}, {series.bytes / 1e6:.1f} MB, generation {series.generation}"),
        ("received", f"{when(series.created_at)} to {when(series.last_received_at)}"),
        ("corrects series", series.corrects),
        ("sent by", ", ".join(sorted({i.calling_ae_title for i in details.instances}))),
        ("analysis attempts", series.attempts),
    ):
        if value != "":
            out.print(f"  {name}: {value}", markup=False)
    if details.results:
        rows = [(r.kind, r.sop_instance_uid, r.generation, r.path) for r in details.results]
        print_table("Results", ("Kind", "SOP Instance UID", "Generation", "File"), rows)
    if details.events:
        story = [(when(event.at), event.state.value, event.text) for event in details.events]
        print_table("Story", ("Time", "State", "Why"), story)
    if details.deliveries:
        deliveries = [
            (d.destination, d.kind, d.state.value, d.attempts, when(d.delivered_at), d.last_error)
            for d in details.deliveries
        ]
        columns = ("Destination", "Kind", "State", "Attempts", "Delivered", "Last error")
        print_table("Deliveries", columns, deliveries)
    if measurements:
        print_table("Made by", ("What", "Value"), _provenance(measurements["provenance"]))
        flat = [(name, value) for name, value in measurements.items() if not isinstance(value, dict | list)]
        print_table("Measurements", ("Name", "Value"), [(n, _rounded(v)) for n, v in flat])
        if measurements.get("prior"):
            since = ("Since", "Days", *COMPARED, "Doubts")
            print_table("Change since earlier results", since, _changes(measurements["prior"]))
        out.print(f"picture: {results / OVERVIEW_FILE}", markup=False)


def _provenance(provenance: dict[str, Any]) -> list[tuple[str, object]]:
    """One row a fact; parameters and what a person corrected as they are."""
    rows: list[tuple[str, object]] = []
    for name, value in provenance.items():
        for part in value if isinstance(value, list) else [value]:
            rows.append((name, json.dumps(part) if isinstance(part, dict) else part))
    return rows


def _changes(priors: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """One row an earlier study."""
    return [
        (
            prior["study_date"],
            prior["days"],
            *(f"{prior['change'][name]:+.4g}" if name in prior["change"] else "" for name in COMPARED),
            ", ".join(prior["flags"]),
        )
        for prior in priors
    ]


def _measurements(results: Path) -> dict[str, Any] | None:
    path = results / MEASUREMENTS_FILE
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _as_json(details: SeriesDetails) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(asdict(details), default=str))
    return content


def _rounded(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value
