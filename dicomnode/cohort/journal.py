"""The journal of a cohort: which files make which series, and what became of each.

A SQLite file, so that memory doesn't grow with the tree. Each outcome is one transaction: kill -9 costs the
series in hand, no other.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from dicomnode.assemble.series import FileIdentity
from dicomnode.cohort.errors import CohortError

VERSION = 1
KEY_LENGTH = 20
CT_CLASSES = {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}

SCHEMA = """
CREATE TABLE file (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, kind TEXT NOT NULL, series INTEGER,
    sop_instance_uid TEXT, sop_class_uid TEXT, modality TEXT, run INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX file_of_series ON file (series);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL, study TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE, files INTEGER, fingerprint TEXT, ct INTEGER, modality TEXT, run INTEGER,
    UNIQUE (study_uid, series_uid)
);
CREATE TABLE outcome (
    series INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, recipe TEXT NOT NULL, state TEXT NOT NULL,
    reason TEXT, detail TEXT, record TEXT, kept INTEGER NOT NULL
);
CREATE TABLE identity (series INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, record TEXT NOT NULL);
"""


class State(StrEnum):
    """What became of a series."""

    MEASURED = "measured"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What an analysis left: a ``record`` of measurements, or a ``reason`` with its ``detail``."""

    state: State
    reason: str = ""
    detail: str = ""
    record: dict[str, Any] | None = None
    kept: bool = False

    def __post_init__(self) -> None:
        if (self.state is State.MEASURED) != (self.record is not None):
            raise ValueError("measurements belong to a measured series, and only to it")


@dataclass(frozen=True)
class Work:
    """A series to be analyzed: ``key`` names it outside of the journal."""

    series: int
    key: str
    files: int
    fingerprint: str


@dataclass(frozen=True)
class Row:
    """A finished series; ``identity`` is filled only where identifiers were asked for."""

    key: str
    study: str
    instances: int
    outcome: Outcome
    identity: dict[str, str]


class Journal:
    """What is known of a cohort; one process at a time writes it.

    Raises
    ------
    CohortError
        If the file is no journal of this version.
    """

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)  # it holds paths and UIDs
        self._database = sqlite3.connect(path, isolation_level=None)
        try:
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            self._database.execute("PRAGMA secure_delete = ON")
            if version == 0:
                self._database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        except sqlite3.DatabaseError as error:
            raise CohortError(f"{path} is no journal of dicomnode cohort; choose another folder") from error
        if version not in (0, VERSION):
            raise CohortError(f"{path} was written by another version of dicomnode; choose another folder")
        (last,) = self._database.execute("SELECT max(run) FROM file").fetchone()
        self._run = (last or 0) + 1

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """All that happens inside is kept, or nothing."""
        self._database.execute("BEGIN")
        return self._database

    def close(self) -> None:
        """Nothing is lost without it."""
        self._database.close()

    def still_there(self, path: Path, size: int, mtime_ns: int) -> bool:
        """Note that the file was met in this run; False if it is new or changed and must be read."""
        changed = self._database.execute(
            "UPDATE file SET run = ? WHERE path = ? AND size = ? AND mtime_ns = ? AND kind <> 'damaged'",
            (self._run, os.fsencode(path), size, mtime_ns),
        )
        return changed.rowcount == 1

    def add_image(self, path: Path, size: int, mtime_ns: int, identity: FileIdentity) -> None:
        """A DICOM file and the series it belongs to."""
        series = self._series(identity.study_instance_uid, identity.series_instance_uid)
        details = (identity.sop_instance_uid, identity.sop_class_uid, identity.modality)
        self._add(path, size, mtime_ns, "image", series, *details)

    def add_other(self, path: Path, size: int, mtime_ns: int, *, damaged: bool) -> None:
        """A file that is no DICOM image; ``damaged``: perhaps it is one, but it can't be read."""
        self._add(path, size, mtime_ns, "damaged" if damaged else "other", None, None, None, None)

    def finish_scan(self) -> None:
        """All files were met: the series are what these files make of them."""
        with self.transaction():
            for series, files in groupby(self._images(), key=lambda row: row[0]):
                self._describe(series, files)

    def work(self, recipe: str, *, retry: bool, keep: Path | None) -> list[Work]:
        """CT series that must be analyzed: new, changed, or measured by another ``recipe``.

        With ``retry`` also failed ones, with ``keep`` also those whose results aren't in that folder.
        """
        found = self._database.execute(
            "SELECT s.id, s.key, s.files, s.fingerprint, o.state, o.kept FROM series s LEFT JOIN outcome o"
            " ON o.series = s.id AND o.fingerprint = s.fingerprint AND o.recipe = ?"
            " WHERE s.run = ? AND s.ct ORDER BY s.id",
            (recipe, self._run),
        )
        todo = []
        for series, key, files, fingerprint, state, kept in found:
            again = retry if state == State.FAILED else keep and not (kept and (keep / key).is_dir())
            if state is None or again:
                todo.append(Work(series, key, files, fingerprint))
        return todo

    def paths(self, series: int) -> list[Path]:
        """The files of a series that were met in this run, sorted."""
        rows = self._database.execute(
            "SELECT path FROM file WHERE series = ? AND run = ? ORDER BY path", (series, self._run)
        )
        return [Path(os.fsdecode(path)) for (path,) in rows]

    def record(self, work: Work, recipe: str, outcome: Outcome) -> None:
        """Keep what became of a series."""
        measured = None if outcome.record is None else json.dumps(outcome.record)
        texts = (outcome.state.value, outcome.reason, outcome.detail, measured)
        self._database.execute(
            "INSERT OR REPLACE INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (work.series, work.fingerprint, recipe, *texts, outcome.kept),
        )

    def rows(self, recipe: str, *states: State) -> Iterator[Row]:
        """Finished series of this run's folders in the order of their keys, one at a time."""
        marks = ", ".join("?" * len(states))
        found = self._database.execute(
            "SELECT s.key, s.study, s.files, o.state, o.reason, o.detail, o.record, o.kept, i.record"
            " FROM series s JOIN outcome o ON o.series = s.id AND o.fingerprint = s.fingerprint"
            " LEFT JOIN identity i ON i.series = s.id"
            f" WHERE s.run = ? AND s.ct AND o.recipe = ? AND o.state IN ({marks}) ORDER BY s.key",
            (self._run, recipe, *states),
        )
        for key, study, files, state, reason, detail, record, kept, identity in found:
            measured = None if record is None else json.loads(record)
            outcome = Outcome(State(state), reason, detail, measured, bool(kept))
            yield Row(key, study, files, outcome, json.loads(identity) if identity else {})

    def count(self, recipe: str, state: State) -> int:
        """Series of this run's folders in a state."""
        (number,) = self._database.execute(
            "SELECT count(*) FROM series s JOIN outcome o"
            " ON o.series = s.id AND o.fingerprint = s.fingerprint"
            " WHERE s.run = ? AND s.ct AND o.recipe = ? AND o.state = ?",
            (self._run, recipe, state),
        ).fetchone()
        return int(number)

    def damaged(self) -> Iterator[Path]:
        """Files and folders of this run that can't be read."""
        rows = self._database.execute(
            "SELECT path FROM file WHERE kind = 'damaged' AND run = ? ORDER BY path", (self._run,)
        )
        return (Path(os.fsdecode(path)) for (path,) in rows)

    def passed_over(self) -> dict[str, int]:
        """Series that are no CT, by modality."""
        rows = self._database.execute(
            "SELECT modality, count(*) FROM series WHERE run = ? AND NOT ct GROUP BY modality"
            " ORDER BY count(*) DESC, modality",
            (self._run,),
        )
        return {modality or "unknown": number for modality, number in rows}

    def without_identity(self) -> list[Work]:
        """CT series whose identifiers haven't been read yet."""
        rows = self._database.execute(
            "SELECT s.id, s.key, s.files, s.fingerprint FROM series s LEFT JOIN identity i"
            " ON i.series = s.id AND i.fingerprint = s.fingerprint"
            " WHERE s.run = ? AND s.ct AND i.series IS NULL ORDER BY s.id",
            (self._run,),
        )
        return [Work(*row) for row in rows]

    def record_identity(self, work: Work, identity: dict[str, str]) -> None:
        """Keep the identifiers of a series."""
        self._database.execute(
            "INSERT OR REPLACE INTO identity VALUES (?, ?, ?)",
            (work.series, work.fingerprint, json.dumps(identity)),
        )

    def forget_identities(self) -> None:
        """No identifier stays in the journal, not even in freed pages of its file."""
        self._database.execute("DELETE FROM identity")

    def _series(self, study_uid: str, series_uid: str) -> int:
        key, study = pseudonym(f"{study_uid}/{series_uid}"), pseudonym(study_uid)
        self._database.execute(
            "INSERT OR IGNORE INTO series (study_uid, series_uid, study, key) VALUES (?, ?, ?, ?)",
            (study_uid, series_uid, study, key),
        )
        (number,) = self._database.execute("SELECT id FROM series WHERE key = ?", (key,)).fetchone()
        return int(number)

    def _add(self, path: Path, size: int, mtime_ns: int, kind: str, *details: object) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (os.fsencode(path), size, mtime_ns, kind, *details, self._run),
        )

    def _images(self) -> Iterator[tuple[Any, ...]]:
        """Sorted by instance, not by path: a tree that is moved stays the same."""
        return self._database.execute(
            "SELECT series, sop_instance_uid, size, mtime_ns, sop_class_uid, modality FROM file"
            " WHERE kind = 'image' AND run = ? ORDER BY series, sop_instance_uid, size, mtime_ns",
            (self._run,),
        )

    def _describe(self, series: int, files: Iterator[tuple[Any, ...]]) -> None:
        digest, count, ct, modality = hashlib.sha256(), 0, False, ""
        for _, instance, size, mtime_ns, sop_class, modality in files:
            digest.update(f"{instance} {size} {mtime_ns}\n".encode())
            count += 1
            ct = ct or modality == "CT" or sop_class in CT_CLASSES
        self._database.execute(
            "UPDATE series SET files = ?, fingerprint = ?, ct = ?, modality = ?, run = ? WHERE id = ?",
            (count, digest.hexdigest(), ct, modality, self._run, series),
        )


def pseudonym(text: str) -> str:
    """The first 20 hexadecimal digits of the SHA-256 of ``text``: 80 bits, no two alike in any archive."""
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
