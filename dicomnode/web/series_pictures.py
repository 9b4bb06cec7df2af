"""The pictures of a series, and what is drawn from all its slices."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np

from dicomnode.measure.distribution import BIN_HU, LOWEST_HU, hellinger_distance, normal_lung
from dicomnode.spool.browsing import Browser
from dicomnode.web.charts import histogram
from dicomnode.web.messages import HttpError, Response
from dicomnode.web.palette import (
    CONSOLIDATION,
    FINDINGS,
    GGO,
    LOBE_ALPHA,
    LOBES,
    SIDES,
    WINDOWS,
    extent_colour,
)
from dicomnode.web.pictures import NoPictureError, Pictures
from dicomnode.web.series_files import SeriesFiles, key_slices
from dicomnode.web.site import Call, Pages, Route, asking_the_ledger

PNG = "image/png"
JSON = "application/json"


class SeriesPictures:
    """What the viewer of a series fetches.

    Parameters
    ----------
    quick, thorough:
        Draw single slices; and what takes all of them, for which no slice has to wait.
    """

    def __init__(
        self, pages: Pages, browser: Browser, directory: Path, quick: Pictures, thorough: Pictures
    ) -> None:
        self._pages = pages
        self._browser = browser
        self._directory = directory
        self._quick = quick
        self._thorough = thorough

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        places: dict[str, Callable[[Call], Response]] = {
            "slices": self._index,
            "histogram": self._histogram,
            "slice/{number}/{what}": self._slice,
            "overlay/{number}/{what}": self._overlay,
        }
        return [
            Route("GET", f"/series/{{series}}/{place}", asking_the_ledger(_explained(handler)))
            for place, handler in places.items()
        ]

    def _files(self, call: Call) -> SeriesFiles:
        files = SeriesFiles.of(self._browser, self._directory, call.words["series"])
        if files.problem:
            raise NoPictureError(files.problem)
        return files

    def _index(self, call: Call) -> Response:
        files = self._files(call)
        areas: dict[str, dict[str, float]] = {}
        if files.seg is not None:
            request = {"draw": "index", "seg": str(files.seg), "segments": [GGO, CONSOLIDATION]}
            areas = self._thorough.ask(request)[0]["areas"]
        slices = [
            {
                "mm": round(one.position_mm, 2),
                "ggo": areas.get(GGO, {}).get(one.instance, 0.0),
                "consolidation": areas.get(CONSOLIDATION, {}).get(one.instance, 0.0),
            }
            for one in files.slices
        ]
        lesion = [one["ggo"] + one["consolidation"] for one in slices]
        content = {
            "slices": slices,
            "key": key_slices(lesion),
            "overlays": files.seg is not None,
            "generation": files.details.series.generation,
        }
        return Response.text(json.dumps(content), content_type=JSON)

    def _slice(self, call: Call) -> Response:
        files, number = self._files(call), _number(call)
        window = WINDOWS.get(call.words["what"].removesuffix(".png"))
        if window is None or number >= len(files.slices):
            raise HttpError(HTTPStatus.NOT_FOUND)
        request = {"draw": "slice", "path": str(files.slices[number].path), "window": window}
        return Response(self._quick.ask(request)[1], content_type=PNG)

    def _overlay(self, call: Call) -> Response:
        files, number = self._files(call), _number(call)
        if files.seg is None or number >= len(files.slices):
            raise HttpError(HTTPStatus.NOT_FOUND)
        segments: list[tuple[str, tuple[int, ...]]] = list(FINDINGS)
        if call.words["what"] == "lobes.png":
            extents = files.measured.extents if files.measured else {}
            names = {**SIDES, **LOBES}
            segments = [(names[name], (*extent_colour(share), LOBE_ALPHA)) for name, share in extents.items()]
        elif call.words["what"] != "findings.png":
            raise HttpError(HTTPStatus.NOT_FOUND)
        request = {
            "draw": "overlay",
            "seg": str(files.seg),
            "instance": files.slices[number].instance,
            "segments": segments,
        }
        return Response(self._quick.ask(request)[1], content_type=PNG)

    def _histogram(self, call: Call) -> Response:
        files = self._files(call)
        if files.seg is None:
            raise NoPictureError("There are no masks to take a histogram of.")
        request: dict[str, Any] = {
            "draw": "histogram",
            "seg": str(files.seg),
            "paths": {one.instance: str(one.path) for one in files.slices},
        }
        probability = np.asarray(self._thorough.ask(request)[0]["probability"])
        normal = normal_lung()
        drawing = histogram(list(probability), list(normal.probability), LOWEST_HU, BIN_HU)
        distance = hellinger_distance(probability, normal.probability)
        return self._pages.page("histogram.html", drawing=drawing, distance=distance, origin=normal.origin)


def _number(call: Call) -> int:
    text = call.words["number"]
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise HttpError(HTTPStatus.NOT_FOUND)
    return int(text)


def _explained(handler: Callable[[Call], Response]) -> Callable[[Call], Response]:
    """What can't be drawn is said in words."""

    def answer(call: Call) -> Response:
        try:
            return handler(call)
        except NoPictureError as error:
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}") from error

    return answer
