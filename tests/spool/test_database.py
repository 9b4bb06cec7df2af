"""Group commit: many threads share a transaction, none suffers from another's mistake."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicomnode.spool.database import Database
from dicomnode.spool.errors import LedgerUnavailableError

THREADS = 16


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def note(number: int) -> Callable[[sqlite3.Connection], int]:
    def do(connection: sqlite3.Connection) -> int:
        connection.execute(
            "INSERT INTO kind_refusal VALUES (?, 'seg', '', 1, 0, 0)",
            (str(number),),
        )
        if number % 5 == 0:
            raise ValueError(str(number))
        return number

    return do


def numbers(path: Path) -> set[int]:
    """What another process finds in the file."""
    connection = sqlite3.connect(path)
    found = {int(row[0]) for row in connection.execute("SELECT destination FROM kind_refusal")}
    connection.close()
    return found


def count_commits(database: Database) -> list[str]:
    statements: list[str] = []
    with database.write(announce=False) as connection:
        connection.set_trace_callback(statements.append)
    statements.clear()
    return statements


def test_threads_that_wait_share_one_commit(database: Database) -> None:
    statements = count_commits(database)
    results: dict[int, object] = {}

    def work(number: int) -> None:
        try:
            results[number] = database.write_together(note(number))
        except ValueError as error:
            results[number] = str(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, THREADS + 1)]
    with database.write(announce=False):  # all of them queue up behind this transaction
        for thread in threads:
            thread.start()
        while len(database._queue) < THREADS:
            pass
    for thread in threads:
        thread.join()

    good = {number for number in range(1, THREADS + 1) if number % 5}
    assert {number for number, result in results.items() if result == number} == good
    assert {number for number, result in results.items() if result == str(number)} == {5, 10, 15}
    assert numbers(database.path) == good
    assert sum(statement == "COMMIT" for statement in statements) == 2


def test_a_folder_is_synced_once_before_the_commit(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, set[int]]] = []
    monkeypatch.setattr(
        "dicomnode.spool.database.sync_directory",
        lambda folder: synced.append((folder, numbers(database.path))),
    )
    database.write_together(note(1), tmp_path)
    assert synced == [(tmp_path, set())]
    assert numbers(database.path) == {1}


def test_when_the_disk_fails_nobody_gets_a_success(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("dicomnode.spool.database.sync_directory", broken)
    with pytest.raises(LedgerUnavailableError, match="Input/output error"):
        database.write_together(note(1), tmp_path)
    monkeypatch.undo()
    assert numbers(database.path) == set()
    assert database.write_together(note(1)) == 1


def test_an_interrupt_is_a_success_for_nobody(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dicomnode.spool.database.sync_directory", interrupted)
    outcomes: list[object] = []

    def lead() -> None:
        try:
            outcomes.append(database.write_together(note(1), tmp_path))
        except BaseException as error:
            outcomes.append(type(error))

    def follow() -> None:
        try:
            outcomes.append(database.write_together(note(2), tmp_path))
        except BaseException as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=lead), threading.Thread(target=follow)]
    with database.write(announce=False):
        for thread in threads:
            thread.start()
        while len(database._queue) < 2:
            pass
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(map(str, [KeyboardInterrupt, LedgerUnavailableError]))
    assert numbers(database.path) == set()
