"""What the first page says is what ledger, disk, workers and front door say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path

import pytest

from dicomnode.receive.access import Rejection
from dicomnode.receive.observer import Caller
from dicomnode.spool.browsing import Browser
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import series_key
from dicomnode.web.doorkeeper import AccessRules, Doorkeeper
from dicomnode.web.live import Live
from dicomnode.web.now_page import MOST_ON_THE_WAY, MOST_RECENT, Disk, NowPage, Worker
from dicomnode.web.site import Pages, Site
from tests.spool.ledger_cases import Receiver, analyzed, arrive
from tests.spool.many_series import many_series
from tests.web.asking import text_of


class Node:
    """What the page asks the node."""

    name, port = "DICOMNODE", 11112

    def __init__(self) -> None:
        self.destinations: list[str] = ["pacs"]
        self.at_work = [Worker(1, True)]
        self.complaints: list[tuple[str, str]] = []

    def alarms(self) -> Sequence[tuple[str, str]]:
        return self.complaints

    def workers(self) -> Sequence[Worker]:
        return self.at_work

    def disk(self) -> Disk:
        return Disk(200 * 10**9, 5 * 10**9, 800 * 10**9)


class Ward:
    """A ledger and its first page."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory / "ledger.sqlite")
        self.browser = Browser(self.ledger.database.path)
        self.live = Live()
        self.node = Node()
        pages = Pages([("/", "Now")], has_login=False)
        routes = NowPage(pages, self.browser, self.ledger, self.live, self.node).routes
        self.site = Site(Doorkeeper(AccessRules()), pages, routes)

    def part(self) -> str:
        return text_of(self.site, "/now")

    def row(self, series_id: str) -> str:
        """The table row of a series."""
        rows = re.findall(r"<tr>.*?</tr>", self.part(), re.DOTALL)
        return next(row for row in rows if series_id in row)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path)
    yield ward
    ward.browser.close()
    ward.ledger.close()


def bars(row: str) -> list[str | None]:
    """Value of each progress bar; None for one that tells none."""
    return [
        match.group(1) if (match := re.search(r'value="([\d.]+)"', bar)) else None
        for bar in re.findall(r"<progress[^>]*>", row)
    ]


def test_an_empty_node_says_what_to_do(ward: Ward) -> None:
    page = text_of(ward.site, "/")
    assert "Send a chest CT to <b>DICOMNODE</b>, port <b>11112</b>" in page
    for words in ("No alarm.", "No association is open.", "Nothing was refused", "Nobody since the start."):
        assert words in page
    assert ward.part() in page
    assert "200 GB" in page


def test_a_series_moves_along_its_bars(ward: Ward) -> None:
    arrive(ward.ledger, series="1.2.3")
    series_id = series_key("1.2", "1.2.3")
    assert bars(ward.row(series_id)) == [None, "0.000", "0.000"]
    ward.ledger.mark_complete(series_id, "quiet")
    assert bars(ward.row(series_id)) == ["1.0", "0.000", "0.000"]
    ward.ledger.claim_next()
    ward.node.at_work = [Worker(1, True, None, series_id, "lesions", 0.5)]
    assert bars(ward.row(series_id)) == ["1.0", "0.550", "0.000"]
    assert "finding lesions" in ward.row(series_id)


def test_delivery_is_counted_in_objects(ward: Ward) -> None:
    series = analyzed(ward.ledger, [Receiver("pacs")])
    assert "0 of 2 objects delivered" in ward.row(series.id)
    ward.ledger.outbox.succeeded(ward.ledger.show(series.id).deliveries[0])
    assert bars(ward.row(series.id)) == ["1.0", "1.000", "0.500"]
    ward.ledger.outbox.destination_failed("pacs", "connection refused", 0.0)
    part = ward.part()
    assert "1 waiting" in part
    assert "connection refused" in part
    assert "1 failures in a row" in part


def test_what_comes_from_outside_is_text(ward: Ward) -> None:
    caller = Caller(1, "<script>x</script>", "192.0.2.7")
    ward.live.association_established(caller)
    ward.live.association_rejected(caller, Rejection(1, 1, 7, 'no "<b>such</b>" title'))
    series = analyzed(ward.ledger, [Receiver("pacs")])
    ward.ledger.outbox.failed(ward.ledger.show(series.id).deliveries[0], "<img src=x>", 0.0)
    part = ward.part()
    for raw in ("<script>", "<b>such", "<img"):
        assert raw not in part
        assert raw in unescape(part)


def test_alarms_come_first_and_name_the_series(ward: Ward) -> None:
    ward.node.complaints = [("the series waits for a worker:", "0123456789abcdef"), ("disk", "")]
    part = ward.part()
    assert part.count('class="alarm"') == 2
    assert 'href="/series/0123456789abcdef"' in part
    assert part.index('class="alarm"') < part.index("tiles")


def test_many_series_are_counted_and_few_are_listed(ward: Ward) -> None:
    ids = many_series(ward.ledger, 3000)
    counts = ward.ledger.count_by_state()
    part = ward.part()
    listed = set(re.findall(r'href="/series/([0-9a-f]{16})"', part))
    assert listed <= set(ids)
    assert len(listed) <= MOST_ON_THE_WAY + 2 * MOST_RECENT
    on_the_way = counts["receiving"] + counts["delivering"]  # type: ignore[index]
    assert f"<dt>On the way</dt><dd>{on_the_way} " in part
    assert f"<dt>Refused</dt><dd>{counts['refused']} " in part  # type: ignore[index]
