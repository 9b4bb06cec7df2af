"""A request to a worker, sent away: its files as a parcel, its paths as names in that parcel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dicomnode.analysis import MEASUREMENTS_FILE
from dicomnode.cluster.parcel import Parcel

OUT, TRAINING = "out", "training"
"""Folders on the far side: what becomes the results, and what is kept of a correction for training."""

Renaming = Callable[[str], str]


def pack(request: dict[str, Any]) -> tuple[dict[str, Any], Parcel]:
    """What is sent for ``request`` (:mod:`dicomnode.worker`), and the files that go with it.

    Files keep their order and their names; only the folders are numbered.

    Raises
    ------
    ClusterError
        If a file can't be read.
    """
    folders: dict[Path, int] = {}
    files: dict[str, Path] = {}

    def name_of(text: str) -> str:
        path = Path(text)
        name = f"in/{folders.setdefault(path.parent, len(folders))}/{path.name}"
        files[name] = path
        return name

    away = _renamed(request, name_of)
    if "job" in request and request["job"]["base"]:  # model and flags of the masks before stand beside them
        name_of(str(Path(request["job"]["base"]).with_name(MEASUREMENTS_FILE)))
    if "out" in request:
        away["out"] = OUT
    if "job" in away and away["job"]["training_directory"]:
        away["job"]["training_directory"] = TRAINING
    return away, Parcel.of(list(files.items()))


def unpack(away: dict[str, Any], parcel: Parcel, directory: Path) -> dict[str, Any]:
    """The request as the worker on the far side gets it, with its files below ``directory``."""
    parcel.unpack(directory)

    def below(name: str) -> str:
        return str(directory / name)

    request = _renamed(away, below)
    if "out" in request:
        request["out"] = below(OUT)
    if "job" in request and request["job"]["training_directory"]:
        request["job"]["training_directory"] = below(TRAINING)
    return request


def _renamed(request: dict[str, Any], rename: Renaming) -> dict[str, Any]:
    renamed = dict(request)
    if "paths" in request:
        renamed["paths"] = [rename(path) for path in request["paths"]]
    if "job" in request:
        job = request["job"]
        renamed["job"] = {
            **job,
            "ct_paths": [rename(path) for path in job["ct_paths"]],
            "seg_paths": [rename(path) for path in job["seg_paths"]],
            "own": {uid: rename(path) for uid, path in job["own"].items()},
            "base": rename(job["base"]) if job["base"] else None,
        }
    return renamed
