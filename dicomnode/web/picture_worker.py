"""Draws slices and overlays in a process of its own: what a damaged file does to it, it does to nobody else.

Reads requests as JSON lines from standard input. Answers each with a JSON line on standard output, and after
one that has ``bytes``, with so many bytes. Ends when the node does, or when nobody has asked for a while.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import select
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.refusal import SeriesRefusedError
from dicomnode.web.drawing import Masks, PictureError, draw_overlay, draw_slice, lung_histogram

IDLE_SECONDS = 300.0
MAXIMUM_MEMORY_BYTES = 4 << 30
"""Of address space: a file that claims to be huge ends the request, not the machine."""

_KEPT_MASKS = 3
_HEAD_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ReferencedSeriesSequence",
)


class Drawing:
    """Answers requests; keeps where the last few segmentations have their frames."""

    def __init__(self) -> None:
        self._masks: OrderedDict[str, Masks] = OrderedDict()

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Facts, and a picture if one was asked for."""
        match request["draw"]:
            case "slice":
                return {}, draw_slice(Path(request["path"]), *request["window"])
            case "overlay":
                masks = self._masks_of(request["seg"])
                return {}, draw_overlay(masks, request["instance"], request["segments"])
            case "index":
                return {"areas": self._masks_of(request["seg"]).areas_mm2(request["segments"])}, b""
            case "histogram":
                paths = {uid: Path(path) for uid, path in request["paths"].items()}
                return {"probability": lung_histogram(self._masks_of(request["seg"]), paths)}, b""
            case "head":
                return _head(Path(request["path"])), b""
        raise PictureError("nothing that can be drawn")

    def _masks_of(self, path: str) -> Masks:
        if path not in self._masks:
            while len(self._masks) >= _KEPT_MASKS:
                self._masks.popitem(last=False)
            self._masks[path] = Masks.read(Path(path))
        self._masks.move_to_end(path)
        return self._masks[path]


def _head(path: Path) -> dict[str, Any]:
    """Which object a file holds."""
    from pydicom import dcmread  # noqa: PLC0415 - only for what somebody uploads
    from pydicom.tag import Tag  # noqa: PLC0415

    dataset = dcmread(path, stop_before_pixels=True, specific_tags=[Tag(name) for name in _HEAD_TAGS])
    sources = dataset.get("ReferencedSeriesSequence") or []
    return {
        "sop_class_uid": str(dataset.SOPClassUID),
        "study_instance_uid": str(dataset.StudyInstanceUID),
        "series_instance_uid": str(dataset.SeriesInstanceUID),
        "drawn_on": [str(item.SeriesInstanceUID) for item in sources],
    }


def serve(requests: io.FileIO, answers: BinaryIO) -> None:
    """Until the end of the requests, or :data:`IDLE_SECONDS` without one."""
    drawing = Drawing()
    while select.select([requests], [], [], IDLE_SECONDS)[0]:
        line = requests.readline()
        if not line:
            return
        try:
            facts, picture = drawing.answer(json.loads(line))
        except (PictureError, AssembleError, SeriesRefusedError) as error:
            facts, picture = {"error": str(error)}, b""
        except MemoryError:
            facts, picture = {"error": "it is too large to be drawn"}, b""
        except Exception as error:  # the type alone: a message could quote the data set
            facts, picture = {"error": f"it can't be drawn ({type(error).__name__})"}, b""
        answers.write(json.dumps({**facts, "bytes": len(picture)}).encode() + b"\n" + picture)
        answers.flush()


def main() -> None:
    """Give way to those who receive and compute, then serve."""
    with contextlib.suppress(OSError, ValueError):  # systemd's sandbox forbids both to the whole service
        os.nice(5)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MAXIMUM_MEMORY_BYTES, MAXIMUM_MEMORY_BYTES))
    with io.FileIO(sys.stdin.fileno(), closefd=False) as requests:  # unbuffered: select() must see all
        serve(requests, sys.stdout.buffer)


if __name__ == "__main__":
    main()
