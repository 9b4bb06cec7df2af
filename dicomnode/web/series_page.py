"""A series: its story, its pictures and numbers, where its results went, and what a person can do."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from dicomnode.report.refusal import WHAT_TO_DO
from dicomnode.spool.browsing import Browser
from dicomnode.spool.errors import LedgerError, LedgerUnavailableError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import DeliveryRecord, SeriesDetails, series_key
from dicomnode.spool.states import SeriesState
from dicomnode.web.identifiers import Identity
from dicomnode.web.lung_drawing import draw_lungs, draw_scale
from dicomnode.web.messages import HttpError, Response
from dicomnode.web.pictures import NoPictureError, Pictures
from dicomnode.web.series_files import SeriesFiles
from dicomnode.web.site import Call, Pages, Route, asking_the_ledger

LOGGER = logging.getLogger(__name__)

SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
RETRIED = (SeriesState.REFUSED, SeriesState.FAILED, SeriesState.DELIVERING)

ADVICE = {reason.value: advice for reason, advice in WHAT_TO_DO.items()}

Send = Callable[[Path], str | None]
"""Gives a file to the node as any sender does; why it wasn't taken, or nothing."""


class SeriesPage:
    """The page of a series and its buttons.

    Parameters
    ----------
    directory:
        Of the spool.
    pictures:
        Begin to get ready when the page is looked at; the last one looks at what is uploaded.
    send:
        How an edited segmentation gets into the node.
    maximum_bytes:
        Of such a segmentation.
    identity:
        Says whose a series is, where the page is to show that.
    """

    def __init__(
        self,
        pages: Pages,
        browser: Browser,
        ledger: Ledger,
        directory: Path,
        pictures: Sequence[Pictures],
        send: Send,
        maximum_bytes: int,
        identity: Callable[[str], Identity] | None = None,
    ) -> None:
        self._pages = pages
        self._browser = browser
        self._ledger = ledger
        self._directory = directory
        self._pictures = pictures
        self._send = send
        self._maximum_bytes = maximum_bytes
        self._identity = identity

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route("GET", "/series/{series}", asking_the_ledger(self._page)),
            Route("GET", "/series/{series}/measurements.json", asking_the_ledger(self._numbers)),
            Route("POST", "/series/{series}/retry", asking_the_ledger(self._retry)),
            Route("POST", "/series/{series}/correction", asking_the_ledger(self._correct)),
        ]

    def _page(self, call: Call) -> Response:
        files = SeriesFiles.of(self._browser, self._directory, call.words["series"])
        if not files.problem:
            for pictures in self._pictures:
                pictures.begin()
        details, measured = files.details, files.measured
        extents = measured.extents if measured else {}
        return self._pages.page(
            "series.html",
            title=f"Series {details.series.id}",
            section="Search",
            series=details.series,
            identity=self._identity(details.series.id) if self._identity else None,
            details=details,
            files=files,
            measured=measured,
            lungs=draw_lungs(extents),
            scale=draw_scale(),
            senders=sorted({one.calling_ae_title for one in details.instances}),
            objects=_objects(details),
            what_to_do=ADVICE.get(details.series.reason, ""),
            can_retry=details.series.state in RETRIED and details.series.purged_at is None,
        )

    def _numbers(self, call: Call) -> Response:
        files = SeriesFiles.of(self._browser, self._directory, call.words["series"])
        if files.measured_path is None:
            raise HttpError(HTTPStatus.NOT_FOUND)
        return Response(files.measured_path.read_bytes(), content_type="application/json")

    def _retry(self, call: Call) -> Response:
        try:
            series = self._ledger.retry(call.words["series"])
        except LedgerUnavailableError:
            raise
        except LedgerError as error:
            raise HttpError(HTTPStatus.CONFLICT, f"{error}.") from error
        LOGGER.info("retry asked for on the page", extra={"series": series.id, "visitor": call.visitor.name})
        return Response.see_other(f"/series/{series.id}")

    def _correct(self, call: Call) -> Response:
        """An edited segmentation: looked at, then sent to the node as a viewer would send it."""
        source = self._browser.show(call.words["series"]).series
        # A crash leaves nothing behind: the spool sweeps this folder at its start.
        with tempfile.NamedTemporaryFile(dir=self._directory / "incoming", suffix=".part") as file:
            path = Path(file.name)
            call.request.body.save(path, self._maximum_bytes)
            try:
                head, _ = self._pictures[-1].ask({"draw": "head", "path": str(path)}, keep=False)
            except NoPictureError as error:
                raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, "The file is no DICOM file.") from error
            if head["sop_class_uid"] not in SEGMENTATIONS:
                raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, "The file is no DICOM Segmentation.")
            if head["drawn_on"] != [source.series_instance_uid]:
                raise HttpError(
                    HTTPStatus.UNPROCESSABLE_ENTITY, "The segmentation was drawn on another series."
                )
            problem = self._send(path)
        if problem:
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The node didn't take it: {problem}.")
        LOGGER.info("correction taken on the page", extra={"series": source.id, "visitor": call.visitor.name})
        return Response.text(f"/series/{series_key(head['study_instance_uid'], head['series_instance_uid'])}")


def _objects(details: SeriesDetails) -> list[tuple[str, str, int, list[DeliveryRecord]]]:
    """Kind, UID, generation and deliveries of each result object, the newest generation first."""
    by_object: dict[str, list[DeliveryRecord]] = {}
    for delivery in details.deliveries:
        by_object.setdefault(delivery.sop_instance_uid, []).append(delivery)
    found = [
        (one.kind, one.sop_instance_uid, one.generation, by_object.get(one.sop_instance_uid, []))
        for one in details.results
    ]
    return sorted(found, key=lambda one: -one[2])
