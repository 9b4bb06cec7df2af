"""A patient's course: serial scans beside the published courses of moderate and severe disease."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from dicomnode.measure.priors import EarlierResult, PriorError
from dicomnode.priors.patient import Sameness, compare_patients
from dicomnode.report.course import FIT_DAYS, PUBLISHED, published_course
from dicomnode.spool.browsing import Browser, KnownResult
from dicomnode.web.charts import Curve, Point, course
from dicomnode.web.messages import Response
from dicomnode.web.site import Call, Pages, Route, asking_the_ledger

CHARTS = (("lesion_extent_percent", "Lesion extent, %"), ("ct_score", "CT score, 0 to 25"))
COLUMNS = (
    ("lesion_extent_percent", "Extent %", 1),
    ("lesion_volume_ml", "Lesion mL", 0),
    ("ggo_volume_ml", "GGO mL", 0),
    ("consolidation_volume_ml", "Cons. mL", 0),
    ("lesion_weight_g", "Weight g", 0),
    ("ct_score", "CT score", 0),
    ("ct_ss", "CT-SS", 0),
)


@dataclass(frozen=True)
class ScanResult:
    """One scan of the patient; ``day`` from symptom onset where that is known, else from the first scan."""

    series_id: str
    result: EarlierResult
    day: float


@dataclass(frozen=True)
class PatientCourse:
    """All scans, one a study, the oldest first.

    Parameters
    ----------
    left_out:
        Further results of the same studies.
    contradicted:
        Results under the same identifiers with another birth date or sex.
    unconfirmed:
        Whether a birth date is missing, so that only the identifiers say that it is one patient.
    """

    scans: tuple[ScanResult, ...] = ()
    from_onset: bool = False
    left_out: int = 0
    contradicted: int = 0
    unconfirmed: bool = False


class CoursePage:
    """``/course/SERIES``: of the patient whose scan the series is.

    Parameters
    ----------
    identifiers:
        Keywords by which a patient is recognised.
    """

    def __init__(
        self, pages: Pages, browser: Browser, identifiers: Sequence[str], *, shows_dates: bool
    ) -> None:
        self._pages = pages
        self._browser = browser
        self._identifiers = tuple(identifiers)
        self._shows_dates = shows_dates

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        return [Route("GET", "/course/{series}", asking_the_ledger(self._page))]

    def _page(self, call: Call) -> Response:
        series = self._browser.show(call.words["series"]).series
        known = self._browser.patient_results(series.id, self._identifiers)
        found = patient_course(known, series.id, self._identifiers)
        charts = [(title, _chart(name, title, found)) for name, title in CHARTS] if found.scans else []
        return self._pages.page(
            "course.html",
            title="Course",
            section="Search",
            series=series,
            course=found,
            charts=charts,
            columns=COLUMNS,
            shows_dates=self._shows_dates,
        )


def patient_course(known: Sequence[KnownResult], series_id: str, identifiers: Sequence[str]) -> PatientCourse:
    """The scans of one patient among results that share an identifier."""
    own = next((one for one in known if one.series_id == series_id), None)
    if own is None:
        return PatientCourse()
    same: list[tuple[KnownResult, EarlierResult]] = []
    contradicted, unconfirmed = 0, False
    for one in known:
        sameness = compare_patients(own.marks, one.marks, identifiers)
        contradicted += sameness is Sameness.CONTRADICTED
        if sameness not in (Sameness.SAME, Sameness.UNCONFIRMED):
            continue
        try:
            same.append((one, EarlierResult.from_json(json.loads(one.record))))
        except (PriorError, ValueError):
            continue
        unconfirmed = unconfirmed or (sameness is Sameness.UNCONFIRMED and one.series_id != series_id)
    chosen = _one_a_study(same)
    onset = _onset(chosen)
    first = chosen[0][1].scan.study_date if chosen else None
    scans = tuple(
        ScanResult(one.series_id, result, (result.scan.study_date - first).days + (onset or 0.0))
        for one, result in chosen
        if first is not None
    )
    return PatientCourse(scans, onset is not None, len(same) - len(chosen), contradicted, unconfirmed)


def _one_a_study(
    same: Sequence[tuple[KnownResult, EarlierResult]],
) -> list[tuple[KnownResult, EarlierResult]]:
    """Of each study a person's correction, else what came last; in the order of the scans."""
    by_study: dict[str, tuple[KnownResult, EarlierResult]] = {}
    for pair in sorted(same, key=lambda pair: (pair[1].corrected, pair[0].created_at)):
        by_study[pair[1].scan.study_instance_uid] = pair
    return sorted(by_study.values(), key=lambda pair: (pair[1].scan.study_date, pair[1].scan.study_time))


def _onset(chosen: Sequence[tuple[KnownResult, EarlierResult]]) -> float | None:
    """Days from onset to the first scan, by the newest scan that says it."""
    for _, result in reversed(chosen):
        if result.scan.onset_day is not None:
            return result.scan.onset_day - (result.scan.study_date - chosen[0][1].scan.study_date).days
    return None


def _chart(name: str, title: str, found: PatientCourse) -> str:
    points = [
        Point(scan.day, scan.result.values[name], *scan.result.bounds.get(name, (None, None)))
        for scan in found.scans
        if name in scan.result.values
    ]
    days = [day / 2 for day in range(2 * FIT_DAYS + 1)]
    curves = [
        Curve(group, [(day, published_course(name, group, day)) for day in days]) for group in PUBLISHED[name]
    ]
    axis = "days since symptom onset" if found.from_onset else "days since the first scan"
    return course(points, curves, f"{title}, over {axis}", axis)
