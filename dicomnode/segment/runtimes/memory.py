"""What was found out about this machine once, kept in a folder: the choice of a runtime, converted networks.

Nothing of it is needed: without the folder everything is found out again or done by torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOGGER = logging.getLogger(__name__)

DIRECTORY_VARIABLE = "DICOMNODE_CACHE"
MODEL_FILE, DIGEST_FILE = "model.xml", "sha256"


def cache_directory() -> Path:
    """``DICOMNODE_CACHE``, else ``dicomnode`` in ``XDG_CACHE_HOME``, else ``.cache/dicomnode`` at home."""
    if chosen := os.environ.get(DIRECTORY_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dicomnode"


def digest_of(*parts: object) -> str:
    """A short name for what is the same exactly if all parts are."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


class Memory:
    """A folder of records and converted networks.

    Parameters
    ----------
    directory:
        Made at the first writing; by default :func:`cache_directory`.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = (directory or cache_directory()) / "runtimes"

    def recall(self, key: str) -> dict[str, Any] | None:
        """The record of a key; None if there is none or it can't be read."""
        try:
            record = json.loads(self._record(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def remember(self, key: str, record: dict[str, Any]) -> dict[str, Any] | None:
        """Keep a record unless there is one: what was kept first stands and is returned.

        None if the folder can't be written to.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._directory)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(record, file, indent=1)
            if self.recall(key) is None:
                with contextlib.suppress(FileNotFoundError):  # a damaged one
                    if self._record(key).is_file():
                        self._record(key).unlink()
            with contextlib.suppress(FileExistsError):
                os.link(name, self._record(key))
            Path(name).unlink()
        except OSError as error:
            _tell_not_kept(error.strerror)
            return None
        return self.recall(key)

    def converted(self, key: str, openvino: Any, convert: Callable[[], Any]) -> Any:
        """The OpenVINO model of a key, from the folder if it lies there undamaged."""
        folder = self._directory / key
        with contextlib.suppress(OSError, RuntimeError):
            if (folder / DIGEST_FILE).read_text(encoding="ascii") == _digest(folder):
                return openvino.Core().read_model(folder / MODEL_FILE)
        model = convert()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._directory) as name:
                fresh = Path(name) / "model"
                fresh.mkdir()
                openvino.save_model(model, fresh / MODEL_FILE, compress_to_fp16=False)
                (fresh / DIGEST_FILE).write_text(_digest(fresh), encoding="ascii")
                if folder.is_dir():  # damaged
                    folder.rename(Path(name) / "damaged")
                fresh.rename(folder)
        except (OSError, RuntimeError) as error:
            _tell_not_kept(type(error).__name__)
        return model

    def _record(self, key: str) -> Path:
        return self._directory / f"{key}.json"


def _tell_not_kept(why: str | None) -> None:
    LOGGER.warning("the cache folder doesn't keep what was found out about runtimes: %s", why)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in (folder / MODEL_FILE, (folder / MODEL_FILE).with_suffix(".bin")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
