"""Memory while thirty-two associations send at once, good ones and greedy ones; the figures are printed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.conversation import COMMAND, LAST, Talk, p_data, store_command, talk
from tests.faults.server_process import ServerProcess

ASSOCIATIONS = 32
GROWTH_MB = 250


@contextmanager
def peak_memory(server: ServerProcess) -> Iterator[list[float]]:
    """Looks at the server's memory fifty times a second; the list's last item is the highest seen."""
    seen = [server.memory_mb()]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen.append(max(seen[-1], server.memory_mb()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield seen
    over.set()
    watcher.join()


def test_memory_while_thirty_two_send(
    tmp_path: Path, ricord: Sequence[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with ServerProcess(tmp_path / "spool", max_associations=ASSOCIATIONS) as server:
        before, threads = server.memory_mb(), server.threads()
        begin = time.monotonic()
        with peak_memory(server) as seen:
            senders = [server.start_storescu("-xs", *ricord[first % 8 :: 8]) for first in range(ASSOCIATIONS)]
            assert [sender.wait(timeout=120) for sender in senders] == [0] * ASSOCIATIONS
        seconds = time.monotonic() - begin
        server.wait_until_quiet(threads)
        after = server.memory_mb()
        with capsys.disabled():
            print(
                f"\n{ASSOCIATIONS} x storescu, {len(ricord) * 4} instances in {seconds:.1f} s: "
                f"memory {before:.0f} MB before, {seen[-1]:.0f} MB at most, {after:.0f} MB after"
            )
        assert len(server.recorded()) == len(ricord)
        assert seen[-1] - before < GROWTH_MB


def test_memory_while_thirty_one_send_without_end(
    tmp_path: Path, ricord: Sequence[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each holds 40 MB of an instance that it doesn't finish; without a bound that were 1.2 GB."""
    greedy, pieces = ASSOCIATIONS - 1, 400
    with (
        ServerProcess(tmp_path / "spool", max_associations=ASSOCIATIONS) as server,
        ExitStack() as open_talks,
    ):
        before, threads, descriptors = server.memory_mb(), server.threads(), server.descriptors()
        talks = [open_talks.enter_context(talk(server.port, 120)) for _ in range(greedy)]

        def feed(sender: Talk) -> None:
            sender.associate()
            sender.send(p_data(store_command(), COMMAND | LAST))
            for _ in range(pieces):
                sender.send(p_data(bytes(100_000), 0))

        with peak_memory(server) as seen:
            feeders = [threading.Thread(target=feed, args=(sender,)) for sender in talks]
            for feeder in feeders:
                feeder.start()
            for feeder in feeders:
                feeder.join()
            run = server.storescu("-xs", *ricord[:20])  # the thirty-second
        assert run.returncode == 0, run.stderr
        open_talks.close()
        server.wait_until_quiet(threads)
        after = server.memory_mb()
        with capsys.disabled():
            print(
                f"\n{greedy} x {pieces / 10:.0f} MB that don't end and one storescu: "
                f"memory {before:.0f} MB before, {seen[-1]:.0f} MB at most, {after:.0f} MB after"
            )
        assert seen[-1] - before < GROWTH_MB
        assert server.descriptors() <= descriptors + 1
        assert len(server.recorded()) == 20
        assert list((server.seen_directory / "incoming").iterdir()) == []
