"""What is searched for is found, page by page, and can be taken away as a table."""

from __future__ import annotations

import csv
import io
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.receive.dataset_scan import DatasetIdentity, PatientElements
from dicomnode.receive.observer import Caller, StoreOutcome
from dicomnode.spool.browsing import Browser
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import Kept
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from dicomnode.web.doorkeeper import AccessRules, Doorkeeper
from dicomnode.web.identifiers import FILE_NAME, Identifiers, forget_identifiers
from dicomnode.web.search_page import PAGE_SERIES, SearchPage
from dicomnode.web.site import Pages, Site
from tests.report.report_cases import axial_affine, make_case, thorax, write_ct
from tests.spool.ledger_cases import arrive
from tests.spool.many_series import BEGAN_AT, many_series
from tests.web.asking import ask, text_of
from tests.web.spooled import measure

NUMBER = 420


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path_factory.mktemp("search") / "ledger.sqlite")
    many_series(ledger, NUMBER)
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def site(ledger: Ledger) -> Iterator[Site]:
    browser = Browser(ledger.database.path)
    yield site_over(browser, ledger.directory)
    browser.close()


def site_over(browser: Browser, directory: Path, identifiers: Identifiers | None = None) -> Site:
    pages = Pages([], has_login=False)
    routes = SearchPage(pages, browser, directory, identifiers).routes
    return Site(Doorkeeper(AccessRules()), pages, routes)


def listed(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a class="id" href="/series/([0-9a-f]{16})"', text)


def table(site: Site, query: str = "") -> list[dict[str, str]]:
    response = ask(site, f"/search.csv?{query}")
    assert response.content_type == "text/csv; charset=utf-8"
    assert "attachment" in response.headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(response.body.decode())))


def test_everything_is_found_page_by_page(site: Site) -> None:
    place, found = "/search", []
    while place:
        text = text_of(site, place)
        found += listed(text)
        older = re.search(r'rel="next" href="([^"]+)"', text)
        place = older.group(1).replace("&amp;", "&") if older else ""
    assert len(found) == len(set(found)) == NUMBER
    assert found == [row["series"] for row in table(site)]
    assert len(listed(text_of(site, "/search"))) == PAGE_SERIES


def test_days_states_and_studies(site: Site, ledger: Ledger) -> None:
    day = time.strftime("%Y-%m-%d", time.localtime(BEGAN_AT + 86400))
    series = ledger.list_series()
    there = [one for one in series if time.strftime("%Y-%m-%d", time.localtime(one.created_at)) == day]
    assert (
        {row["series"] for row in table(site, f"from={day}&to={day}")} == {one.id for one in there} != set()
    )
    states = table(site, "state=refused&state=failed")
    assert {row["series"] for row in states} == {o.id for o in series if o.state in ("refused", "failed")}
    study = series[5].study_instance_uid
    assert len(table(site, f"study={study}")) == 2
    assert listed(text_of(site, f"/search?study={study}&state=delivered"))
    assert table(site, "study=1.2.999999") == []
    assert "No series fits." in text_of(site, "/search?study=1.2.999999")


@pytest.mark.parametrize("query", ["from=yesterday", "to=2024-13-01", "state=lost", "study='%20OR%201=1"])
def test_nonsense_is_explained_and_finds_nothing(site: Site, query: str) -> None:
    text = text_of(site, f"/search?{query}")
    assert 'role="alert"' in text
    assert listed(text) == table(site, query) == []


def test_a_page_beyond_the_last_is_empty(site: Site) -> None:
    for page in ("99", "0", "-1", "x", "9" * 30):
        assert ask(site, f"/search?page={page}").status == 200


def test_the_table_has_the_measurements_and_no_formula(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    hu, labels, sides = thorax()
    series_id = measure(spool, make_case(write_ct(tmp_path / "ct", hu, axial_affine()), labels, sides))
    arrive(spool.ledger, series="1.2.77")
    other = next(one for one in spool.ledger.list_series(SeriesState.RECEIVING))
    spool.ledger.fail(other.id, 1, "analysis_failed", '=HYPERLINK("http://x")')
    browser = Browser(spool.ledger.database.path)
    rows = {row["series"]: row for row in table(site_over(browser, spool.directory))}
    assert float(rows[series_id]["lesion_volume_ml"]) > 0
    assert rows[series_id]["model"] == "test_threshold"
    assert rows[other.id]["lesion_volume_ml"] == ""
    assert rows[other.id]["detail"].startswith("'=")
    assert "patient_id" not in rows[other.id]
    assert "Accession" not in text_of(site_over(browser, spool.directory), "/search")
    browser.close()
    spool.close()


def test_accession_numbers_are_known_only_where_configured(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ids = many_series(ledger, 3)
    browser = Browser(ledger.database.path)
    clock = [0.0]
    identifiers = Identifiers(tmp_path, browser.purged, lambda: clock[0])
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    for series_id, number in zip(ids, (b"ACC7", b"ACC7", b"=ACC8"), strict=True):
        for _ in range(2):
            identifiers.instance_answered(
                outcome(series_id, PatientElements(b"", number, b"Doe^Jane", b"PAT-1"))
            )
    site = site_over(browser, tmp_path, identifiers)
    assert {row["series"] for row in table(site, "accession=ACC7")} == set(ids[:2])
    assert table(site, "accession=ACC") == []
    assert table(site, "accession=%3DACC8")[0]["accession_number"] == "'=ACC8"
    text = text_of(site, "/search?accession=ACC7")
    assert "PAT-1" in text
    assert "Doe" not in text

    with ledger.database.write() as connection:
        connection.execute("UPDATE series SET purged_at = 1 WHERE id = ?", (ids[0],))
    clock[0] += 4000
    identifiers.instance_answered(outcome("f" * 16, PatientElements(b"", b"NEW", b"", b"PAT-2")))
    assert identifiers.with_accession("ACC7") == (ids[1],), "a purged series' are forgotten"
    identifiers.close()
    assert identifiers.with_accession("ACC7") == ()
    forget_identifiers(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    browser.close()
    ledger.close()


def outcome(series_id: str, patient: PatientElements) -> StoreOutcome:
    identity = DatasetIdentity("1.5", "1.2.3.4", "1.2", "1.2.3", patient=patient)
    return StoreOutcome(Caller(1, "SCANNER", "::1"), 0, 10, 0.1, identity, Kept.NEW, series_id)
