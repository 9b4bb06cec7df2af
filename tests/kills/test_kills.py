"""Kill it anywhere: nothing acknowledged is lost, every series ends, each result is at the PACS once."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.dicom_network import installed
from tests.kills import ledger_view
from tests.kills.campaign import Campaign
from tests.kills.launcher import WAYS
from tests.kills.pacs import Arrival
from tests.kills.points import COMMITMENT_POINTS, POINTS, By
from tests.kills.verdict import judge, lost_instances, lost_results, sent_again, several_objects

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

KILLS = 20
SEED = "DICOMNODE_KILL_SEED"


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """A node that was killed at each point at least once and then left alone."""
    installed("storescu")
    data = Path(os.environ.get("DICOMNODE_DATA", REPOSITORY.parent / "shared" / "data"))
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))
    campaign = Campaign(
        tmp_path_factory.mktemp("kills"), data if data.is_dir() else None, seed, commitment=True
    )
    campaign.run(max(KILLS, len(campaign.points)))
    return campaign


def test_a_node_killed_at_any_instant_loses_and_duplicates_nothing(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = judge(campaign, tmp_path, compared=3)

    with capsys.disabled():
        print(f"\n{verdict.summary}\nagain with {SEED}={campaign.seed}", flush=True)
    assert not verdict.lost, f"seed {campaign.seed}"
    assert not verdict.duplicated, f"seed {campaign.seed}"
    assert not campaign.missed, f"seed {campaign.seed}"
    assert set(campaign.kills) == {point.name for point in campaign.points}


def test_every_point_of_the_launcher_has_a_way() -> None:
    assert WAYS.keys() == {p.name for p in (*POINTS, *COMMITMENT_POINTS) if p.by is By.LAUNCHER}


@contextmanager
def removed(path: Path) -> Iterator[None]:
    """The file is gone for a while."""
    content = path.read_bytes()
    path.unlink()
    try:
        yield
    finally:
        path.write_bytes(content)


def test_the_verdict_sees_a_lost_instance(campaign: Campaign) -> None:
    _, path = next(iter(ledger_view.instances(campaign.node.spool).values()))
    with removed(path):
        assert ["is gone" in finding for finding in lost_instances(campaign)] == [True]


def test_the_verdict_sees_other_bytes(campaign: Campaign) -> None:
    _, path = next(iter(ledger_view.instances(campaign.node.spool).values()))
    with removed(path):
        path.write_bytes(b"\0" * 128 + b"DICM\2\0\0\0UL\4\0\0\0\0\0")
        assert ["other bytes" in finding for finding in lost_instances(campaign)] == [True]


def test_the_verdict_sees_a_lost_result(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    series = campaign.series[0].series_instance_uid
    for uid in [uid for uid, held in campaign.pacs.held.items() if series in held.sources]:
        monkeypatch.delitem(campaign.pacs.held, uid)
    assert ["didn't arrive" in finding for finding in lost_results(campaign)] == [True]


def test_the_verdict_sees_a_second_object(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    series = next(
        uid for uid, known in ledger_view.series(campaign.node.spool).items() if known.generation == 1
    )
    held = next(held for held in campaign.pacs.held.values() if series in held.sources)
    monkeypatch.setitem(campaign.pacs.held, "1.2.3", held)
    assert [finding.startswith(f"2 {held.kind} objects") for finding in several_objects(campaign)] == [True]


def test_the_verdict_sees_a_second_sending(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    noted_before_the_last_kill = campaign.noted_before[-1][1]
    held = campaign.pacs.held[next(iter(noted_before_the_last_kill))]
    monkeypatch.setattr(held, "arrivals", [*held.arrivals, Arrival(len(campaign.noted_before))])
    assert ["noted as delivered" in finding for finding in sent_again(campaign)] == [True]


def test_the_verdict_sees_a_second_sending_in_one_life(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = next(held for held in campaign.pacs.held.values() if not held.arrivals[-1].cut_off)
    monkeypatch.setattr(held, "arrivals", [*held.arrivals, Arrival(held.arrivals[-1].life)])
    assert ["came again in life" in finding for finding in sent_again(campaign)] == [True]


def test_an_object_that_the_pacs_has_when_it_stops_may_come_again(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = next(iter(campaign.pacs.held.values()))
    life = held.arrivals[-1].life
    monkeypatch.setattr(held, "arrivals", [*held.arrivals[:-1], Arrival(life, cut_off=True), Arrival(life)])
    assert sent_again(campaign) == []
