"""What is lost, what is there twice: the spool and the PACS against what was sent."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dicomnode.config import load_config
from dicomnode.measure.priors import Findings
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from dicomnode.supervisor import Supervisor
from tests.dicom_network import dataset_bytes
from tests.kills import ledger_view
from tests.kills.campaign import Campaign
from tests.kills.patients import MEASURED, SentSeries

KINDS = {"delivered": ["SEG", "SR"], "committed": ["SEG", "SR"], "refused": ["SR"]}


@dataclass(frozen=True)
class Verdict:
    """The findings, each a sentence, and the figures."""

    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    summary: str


def judge(campaign: Campaign, scratch: Path, *, compared: int) -> Verdict:
    """Look for everything that was promised.

    Parameters
    ----------
    compared:
        So many measured series are analyzed once more, undisturbed; the PACS must have exactly those bytes.
        All refused ones are.
    """
    lost = [*lost_instances(campaign), *lost_results(campaign)]
    lost += _other_than_undisturbed(campaign, scratch, compared)
    duplicated = [*several_objects(campaign), *sent_again(campaign)]
    return Verdict(tuple(lost), tuple(duplicated), _summary(campaign, lost, duplicated))


def lost_instances(campaign: Campaign) -> list[str]:
    """Acknowledged instances that the spool doesn't have byte for byte."""
    kept = ledger_view.instances(campaign.node.spool)
    findings = []
    for series in campaign.series:
        for instance in series.instances:
            assert instance.path in campaign.acknowledged
            if instance.sop_instance_uid not in kept:
                findings.append(f"acknowledged, but not in the ledger: {instance.path}")
                continue
            sha256, path = kept[instance.sop_instance_uid]
            if not path.is_file():
                findings.append(f"acknowledged, but its file {path} is gone: {instance.path}")
            elif _digest(path) != instance.sha256 or sha256 != instance.sha256:
                findings.append(f"acknowledged, but kept with other bytes: {instance.path}")
    files = set(campaign.node.spool.glob("instances/*/*.dcm"))
    findings += [f"a file that no row speaks of: {path}" for path in files - {p for _, p in kept.values()}]
    return findings


def lost_results(campaign: Campaign) -> list[str]:
    """Series that did not end well, or whose results the PACS doesn't have."""
    known = ledger_view.series(campaign.node.spool)
    findings = []
    for series in campaign.series:
        if series.series_instance_uid not in known:
            findings.append(f"series {series.series_instance_uid} ({series.template}) isn't in the ledger")
            continue
        state = known[series.series_instance_uid].state
        expected = "delivered" if series.template == MEASURED else "refused"
        if KINDS.get(state) != KINDS[expected]:
            findings.append(f"series {series.series_instance_uid} ({series.template}) ended as {state}")
        elif not set(_objects(campaign, series)) >= set(KINDS[state]):
            findings.append(f"series {series.series_instance_uid} is {state}, but its results didn't arrive")
    return findings


def several_objects(campaign: Campaign) -> list[str]:
    """More than one object of a kind for a series (for each generation that late slices made), or two
    contents under one UID."""
    known = ledger_view.series(campaign.node.spool)
    findings = [
        f"{len(held.digests)} contents arrived as {held.kind} {uid}"
        for uid, held in campaign.pacs.held.items()
        if len(held.digests) > 1
    ]
    for series in campaign.series:
        uid = series.series_instance_uid
        generations = known[uid].generation if uid in known else 0
        findings += [
            f"{len(uids)} {kind} objects for {generations} generations of series {uid}"
            for kind, uids in _objects(campaign, series).items()
            if len(uids) > generations
        ]
    sent = {series.series_instance_uid for series in campaign.series}
    findings += [
        f"{uid} belongs to no series" for uid, h in campaign.pacs.held.items() if not h.sources & sent
    ]
    return findings


def sent_again(campaign: Campaign) -> list[str]:
    """Arrivals of an object that the node knew to be there: noted as delivered, or sent in the same life.

    An object that comes again because the node (or the PACS) died between storing and noting is no finding.
    """
    findings = []
    for uid, held in campaign.pacs.held.items():
        findings += [
            f"{held.kind} {uid} came again in life {later.life} of the node, which had the answer"
            for earlier, later in itertools.pairwise(held.arrivals)
            if earlier.life == later.life and not earlier.cut_off
        ]
        noted = min((life for life, uids in campaign.noted_before if uid in uids), default=None)
        if noted is not None and held.arrivals[-1].life > noted:
            findings.append(f"{held.kind} {uid} was noted as delivered in life {noted} and came again")
    return findings


def _other_than_undisturbed(campaign: Campaign, scratch: Path, compared: int) -> list[str]:
    """Results that differ from those of an analysis that nobody disturbed."""
    config = load_config(campaign.node.config_path)
    supervisor = Supervisor(config.analysis.model, config.analysis.device, config.analysis.timeout_seconds)
    measured = [series for series in campaign.series if series.template == MEASURED]
    chosen = random.Random(campaign.seed).sample(measured, min(compared, len(measured)))
    chosen += [series for series in campaign.series if series.template != MEASURED]
    findings = []
    try:
        for number, series in enumerate(chosen):
            analysis = supervisor.analyze(
                series.paths,
                scratch / str(number),
                config.analysis_sha256(),
                priors=partial(_found_then, campaign, series),
            )
            for file in analysis.results.files:
                held = campaign.pacs.held.get(file.sop_instance_uid)
                if str(file.kind) not in ("seg", "sr"):
                    continue
                if held is None or held.digests != {_digest(file.path)}:
                    findings.append(
                        f"the PACS has not the {file.kind} of an undisturbed analysis of {series}"
                    )
    finally:
        supervisor.stop()
    return findings


def _found_then(campaign: Campaign, series: SentSeries) -> Findings:
    """Earlier results that the node found: the campaign's own, and which ones depends on the kills."""
    ledger = Ledger(campaign.node.spool / LEDGER_NAME)
    try:
        (known,) = [
            one for one in ledger.list_series() if one.series_instance_uid == series.series_instance_uid
        ]
        noted = ledger.findings(known.id, known.generation)
    finally:
        ledger.close()
    assert noted is not None, "each result is noted with what it was compared with"
    return Findings.from_json(json.loads(noted))


def _objects(campaign: Campaign, series: SentSeries) -> dict[str, list[str]]:
    """SOP Instance UIDs at the PACS that were made from the series, by kind."""
    found: dict[str, list[str]] = defaultdict(list)
    for uid, held in campaign.pacs.held.items():
        if series.series_instance_uid in held.sources:
            found[held.kind].append(uid)
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(dataset_bytes(path)).hexdigest()


def _summary(campaign: Campaign, lost: list[str], duplicated: list[str]) -> str:
    known = ledger_view.series(campaign.node.spool).values()
    states = Counter(series.state for series in known)
    arrivals = sum(len(held.arrivals) for held in campaign.pacs.held.values())
    objects = len(campaign.pacs.held)
    lines = [
        f"seed {campaign.seed}: {sum(campaign.kills.values())} kills, {campaign.node.starts} starts, "
        f"PACS down or broken {campaign.pacs_faults} times",
        f"instances: {sum(len(series.instances) for series in campaign.series)} sent in "
        f"{campaign.requests} C-STORE requests, {len(campaign.acknowledged)} acknowledged",
        "kills " + ", ".join(f"{phase} {count}" for phase, count in sorted(campaign.kills_by_phase.items())),
        "kills by point: " + ", ".join(f"{name} {count}" for name, count in sorted(campaign.kills.items())),
        f"points not reached (killed anyway): {', '.join(campaign.missed) or 'none'}",
        f"series: {len(campaign.series)} sent, "
        + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        + f"; {sum(series.generation > 1 for series in known)} of them measured anew for late slices",
        f"results: {objects} objects at the destination, {arrivals - objects} came a second time",
        f"lost {len(lost)}, duplicated {len(duplicated)}",
    ]
    return "\n".join(lines)
