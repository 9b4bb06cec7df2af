"""Series by date, state, study or accession number, as a list and as a table to take away."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from dicomnode.analysis import MEASUREMENTS_FILE
from dicomnode.spool.browsing import Browser, Query
from dicomnode.spool.records import SeriesRecord, is_uid
from dicomnode.spool.spool import results_path
from dicomnode.spool.states import SeriesState
from dicomnode.web.identifiers import Identifiers, Identity
from dicomnode.web.measured import TOTALS, Measured
from dicomnode.web.messages import Request, Response
from dicomnode.web.site import Call, Pages, Route, asking_the_ledger

PAGE_SERIES = 50
MOST_EXPORTED = 10_000
CSV_TYPE = "text/csv; charset=utf-8"

FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula."""


@dataclass(frozen=True)
class Asked:
    """The search form as it was filled in, and what doesn't make sense in it."""

    begin: str = ""
    end: str = ""
    states: tuple[str, ...] = ()
    study: str = ""
    accession: str = ""
    page: int = 1
    problem: str = ""

    @classmethod
    def of(cls, request: Request) -> Asked:
        """What a request asks for."""
        pairs = parse_qsl(request.query_string)
        last = {name: value.strip() for name, value in pairs}
        states = tuple(dict.fromkeys(value for name, value in pairs if name == "state"))
        page = last.get("page", "1")
        asked = cls(
            last.get("from", ""),
            last.get("to", ""),
            states,
            last.get("study", ""),
            last.get("accession", ""),
            int(page) if page.isascii() and page.isdecimal() and 0 < len(page) < 7 else 1,
        )
        return cls(**{**vars(asked), "problem": asked._mistake()})

    def query(self, series_ids: tuple[str, ...] | None) -> Query:
        """For the ledger."""
        return Query(
            _midnight(self.begin),
            _midnight(self.end, later=1),
            tuple(SeriesState(state) for state in self.states),
            self.study,
            series_ids,
        )

    def address(self, page: int = 0) -> str:
        """The query of an address that asks the same, of another page of the list."""
        pairs = [("from", self.begin), ("to", self.end), ("study", self.study), ("accession", self.accession)]
        pairs += [("state", state) for state in self.states]
        if page > 1:
            pairs.append(("page", str(page)))
        return urlencode([(name, value) for name, value in pairs if value])

    def _mistake(self) -> str:
        for name, text in (("From", self.begin), ("To", self.end)):
            try:
                if text:
                    date.fromisoformat(text)
            except ValueError:
                return f"{name} must be a date as in 2026-11-30."
        known = {state.value for state in SeriesState}
        if strange := [state for state in self.states if state not in known]:
            return f"There is no state {strange[0]}."
        return (
            "" if not self.study or is_uid(self.study) else "A Study Instance UID has digits and dots only."
        )


class SearchPage:
    """The list and its CSV.

    Parameters
    ----------
    directory:
        Of the spool.
    identifiers:
        Patient IDs and accession numbers; ``None`` where the page is not to know them.
    """

    def __init__(
        self, pages: Pages, browser: Browser, directory: Path, identifiers: Identifiers | None
    ) -> None:
        self._pages = pages
        self._browser = browser
        self._directory = directory
        self._identifiers = identifiers

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route("GET", "/search", asking_the_ledger(self._page)),
            Route("GET", "/search.csv", asking_the_ledger(self._table)),
        ]

    def _page(self, call: Call) -> Response:
        asked = Asked.of(call.request)
        found: list[SeriesRecord] = []
        total = 0
        if not asked.problem:
            query = self._query(asked)
            total = self._browser.count(query)
            found = self._browser.search(query, PAGE_SERIES, (asked.page - 1) * PAGE_SERIES)
        return self._pages.page(
            "search.html",
            title="Search",
            asked=asked,
            states=[state.value for state in SeriesState],
            found=found,
            total=total,
            last_page=max(1, -(-total // PAGE_SERIES)),
            first=(asked.page - 1) * PAGE_SERIES + 1,
            most=MOST_EXPORTED,
            identities=self._identities(found),
        )

    def _table(self, call: Call) -> Response:
        asked = Asked.of(call.request)
        found = [] if asked.problem else self._browser.search(self._query(asked), MOST_EXPORTED)
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(self._columns())
        writer.writerows(self._lines(found))
        name = time.strftime("dicomnode-%Y%m%d-%H%M%S.csv")
        return Response(
            file.getvalue().encode("utf-8"),
            content_type=CSV_TYPE,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def _query(self, asked: Asked) -> Query:
        if not asked.accession:
            return asked.query(None)
        known = self._identifiers.with_accession(asked.accession) if self._identifiers else ()
        return asked.query(known)

    def _identities(self, found: Sequence[SeriesRecord]) -> Mapping[str, Identity] | None:
        if self._identifiers is None:
            return None
        return {series.id: self._identifiers.of(series.id) for series in found}

    def _columns(self) -> list[str]:
        own = ["patient_id", "accession_number"] if self._identifiers else []
        measured = [name for name, *_ in TOTALS]
        bounds = [f"{stem}_{which}{name.removeprefix(stem)}" for name, stem in _BOUNDED for which in _BOUNDS]
        return [*_FACTS, *own, "model", "model_version", "quality_flags", *measured, *bounds]

    def _lines(self, found: Sequence[SeriesRecord]) -> Iterator[list[object]]:
        for series in found:
            path = results_path(self._directory, series.id, series.generation) / MEASUREMENTS_FILE
            measured = Measured.read(path)
            record = measured.record if measured else {}
            own: list[object] = []
            if self._identifiers:
                identity = self._identifiers.of(series.id)
                own = [_harmless(identity.patient_id), _harmless(identity.accession_number)]
            made, sure = record.get("provenance") or {}, record.get("uncertainty") or {}
            yield [
                series.id,
                series.study_instance_uid,
                series.series_instance_uid,
                series.state.value,
                series.reason,
                _harmless(series.detail),
                series.instances,
                series.bytes,
                series.generation,
                _stamp(series.created_at),
                _stamp(series.state_since),
                "" if series.purged_at is None else _stamp(series.purged_at),
                *own,
                _harmless(str(made.get("model", ""))),
                _harmless(str(made.get("model_version", ""))),
                " ".join((record.get("quality") or {}).get("flags", ())),
                *(record.get(name, "") for name, *_ in TOTALS),
                *(
                    sure.get(f"{stem}_{which}{name.removeprefix(stem)}", "")
                    for name, stem in _BOUNDED
                    for which in _BOUNDS
                ),
            ]


_BOUNDED = [(name, stem) for name, _, _, _, stem in TOTALS if stem]
_BOUNDS = ("low", "high")
_FACTS = (
    "series",
    "study_instance_uid",
    "series_instance_uid",
    "state",
    "reason",
    "detail",
    "instances",
    "bytes",
    "generation",
    "first_received",
    "state_since",
    "purged",
)


def _midnight(text: str, later: int = 0) -> float | None:
    """Local midnight of a date, or of one some days later, in seconds since 1970 UTC."""
    if not text:
        return None
    day = date.fromisoformat(text) + timedelta(days=later)
    return datetime(day.year, day.month, day.day).timestamp()


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def _harmless(text: str) -> str:
    """A cell that no spreadsheet computes."""
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text
