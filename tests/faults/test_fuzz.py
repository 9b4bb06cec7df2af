"""Mutations of a legal conversation, of command sets and of data sets: no crash, no hang, no growth.

``make fuzz EXAMPLES=20000`` runs longer; the number is that of the data sets, conversations get a tenth.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import encode

from dicomnode.receive.dataset_scan import UnreadableDatasetError, scan_dataset
from tests.dicom_network import dataset_bytes, make_ct, until
from tests.faults.conversation import (
    COMMAND,
    CONTEXT_ID,
    LAST,
    RELEASE_REQUEST,
    associate_request,
    echo_command,
    p_data,
    store_command,
    store_request,
    talk,
)
from tests.faults.server_process import ServerProcess

EXAMPLES = int(os.environ.get("DICOMNODE_FUZZ_EXAMPLES", "2000"))
CONVERSATIONS = max(150, EXAMPLES // 10)
SCAN_SECONDS = 5.0
CONVERSATION_SECONDS = 15.0
GROWTH_MB = 60

CONVERSATION = settings(
    max_examples=CONVERSATIONS,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # a server with a memory can't be shrunk against
    suppress_health_check=list(HealthCheck),
)

Edit = tuple[str, float, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "flip", "insert", "delete", "double", "length"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 300),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)
LENGTHS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x01\0\0\0")


def mutated(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Apply each edit at its place, a part of the length."""
    result = bytearray(data)
    for kind, part, count, value in edits:
        at = int(part * len(result))
        if kind == "set":
            result[at : at + len(value)] = value
        elif kind == "flip" and result:
            result[at] ^= 1 << count % 8
        elif kind == "insert":
            result[at:at] = value * (1 + count % 9)
        elif kind == "delete":
            del result[at : at + count]
        elif kind == "double":
            result[at:at] = result[at : at + count]
        elif kind == "length":
            result[at : at + 4] = LENGTHS[count % len(LENGTHS)]
    return bytes(result)


def real_headers(data_dir: Path) -> list[tuple[bytes, str]]:
    """Data sets of real CT slices in each plain transfer syntax, their pixels cut to a few bytes."""
    found: list[tuple[bytes, str]] = []
    for folder in ("cip_ct64_chest", "ricord_covid_chest", "head_ct"):
        paths = sorted(path for path in data_dir.rglob(f"{folder}/*") if path.is_file())
        if not paths:
            continue
        dataset = dcmread(paths[0])
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        found.append((dataset_bytes(paths[0])[:20_000], syntax))
        dataset.PixelData = bytes(64)
        dataset["PixelData"].VR = "OW"
        dataset["PixelData"].is_undefined_length = False
        for plain in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian):
            data = encode(dataset, plain.is_implicit_VR, plain.is_little_endian)
            assert data is not None
            found.append((data, str(plain)))
    assert found
    return found


def test_data_sets(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    headers = real_headers(data_dir)
    slowest, readable = 0.0, 0

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(headers), EDITS, st.sampled_from(["", DeflatedExplicitVRLittleEndian]))
    def fuzz(header: tuple[bytes, str], edits: Sequence[Edit], other_syntax: str) -> None:
        nonlocal slowest, readable
        data, syntax = header
        begin = time.perf_counter()
        try:
            scan_dataset(mutated(data, edits), other_syntax or syntax)
            readable += 1
        except UnreadableDatasetError as error:
            assert len(str(error)) <= 64
            assert str(error).isascii()
        slowest = max(slowest, time.perf_counter() - begin)
        assert slowest < SCAN_SECONDS

    fuzz()
    with capsys.disabled():
        print(f"\n{EXAMPLES} mutated data sets, {readable} still readable, slowest {slowest * 1e3:.1f} ms")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One for all conversations, as it is in life; it hangs up on the silent soon."""
    directory = tmp_path_factory.mktemp("fuzz") / "spool"
    with ServerProcess(directory, negotiation_seconds=0.3, idle_seconds=0.3) as running:
        yield running


def ct(number: int) -> tuple[str, bytes]:
    dataset = make_ct(number)
    data = encode(dataset, False, True)
    assert data is not None
    return str(dataset.SOPInstanceUID), data


def one_conversation(server: ServerProcess, data: bytes) -> None:
    """Say it all, then listen until the node hangs up, which it must do soon."""
    begin = time.monotonic()
    with talk(server.port, CONVERSATION_SECONDS) as sender:
        try:
            sender.send(data)
            while sender.read_pdu()[0]:
                pass
        except TimeoutError:
            raise AssertionError("the node keeps the connection of a peer that says nothing") from None
        except OSError:
            pass  # it hung up before everything was said
    assert time.monotonic() - begin < CONVERSATION_SECONDS


def still_well(server: ServerProcess, threads: int, memory: float, number: int) -> None:
    """Echo, a good instance, nothing left behind."""
    server.wait_until_quiet(threads)
    uid, data = ct(number)
    with talk(server.port) as sender:
        sender.associate()
        for pdu in store_request(data, store_command(sop_instance_uid=uid)):
            sender.send(pdu)
        assert sender.status() == 0
        assert sender.release()
    assert server.echo_works()
    server.wait_until_quiet(threads)
    for path, sha256 in server.recorded().values():
        assert hashlib.sha256(dataset_bytes(server.directory / path)).hexdigest() == sha256
    assert uid in server.recorded()
    assert not list((server.directory / "incoming").iterdir())
    assert server.memory_mb() - memory < GROWTH_MB
    log = server.log()
    assert "Traceback" not in log
    assert "a thread ended by an error" not in log
    assert "unexpected" not in log


def warm(server: ServerProcess) -> tuple[int, float]:
    """Threads and memory after a first conversation."""
    threads = server.threads()
    assert server.echo_works()
    server.wait_until_quiet(threads)
    return threads, server.memory_mb()


def test_protocol_data_units(server: ServerProcess) -> None:
    threads, memory = warm(server)
    uid, data = ct(1)
    legal = b"".join(
        (associate_request(), *store_request(data, store_command(sop_instance_uid=uid)), RELEASE_REQUEST)
    )

    @CONVERSATION
    @given(EDITS)
    def fuzz(edits: Sequence[Edit]) -> None:
        one_conversation(server, mutated(legal, edits))

    one_conversation(server, legal)
    fuzz()
    still_well(server, threads, memory, 1_000_001)


def test_command_sets(server: ServerProcess) -> None:
    """Well-formed PDUs around wrong command sets, of C-STORE, C-ECHO and whatever they turn into."""
    threads, memory = warm(server)
    uid, data = ct(2)
    commands = [store_command(sop_instance_uid=uid), echo_command(), store_command(CommandField=0x0130)]

    @CONVERSATION
    @given(st.sampled_from(commands), EDITS, st.sampled_from([CONTEXT_ID, 3, 0, 255]))
    def fuzz(command: bytes, edits: Sequence[Edit], context_id: int) -> None:
        request = p_data(mutated(command, edits), COMMAND | LAST, context_id) + p_data(data, LAST, context_id)
        one_conversation(server, associate_request() + request + request + RELEASE_REQUEST)

    fuzz()
    still_well(server, threads, memory, 1_000_002)


def test_data_sets_through_the_network(server: ServerProcess, data_dir: Path) -> None:
    """Whatever is acknowledged is in the spool as it was sent."""
    threads, memory = warm(server)
    headers = [(data, syntax) for data, syntax in real_headers(data_dir) if len(data) < 60_000]
    acknowledged: dict[tuple[str, ...], str] = {}

    @CONVERSATION
    @given(st.sampled_from(headers), EDITS)
    def fuzz(header: tuple[bytes, str], edits: Sequence[Edit]) -> None:
        data, syntax = mutated(header[0], edits), header[1]
        try:
            found = scan_dataset(data, syntax)
            uid, series = found.sop_instance_uid, (found.study_instance_uid, found.series_instance_uid)
        except UnreadableDatasetError:
            uid, series = "1.2.3", ("", "")
        with talk(server.port, CONVERSATION_SECONDS) as sender:
            sender.associate(transfer_syntax=syntax)
            command = store_command(sop_instance_uid=uid) if len(uid) <= 64 and uid.isascii() else b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the command set was empty
                for pdu in store_request(data, command):
                    sender.send(pdu)
                if sender.status() == 0:
                    # other bytes for what is kept already are acknowledged; the first ones stay
                    acknowledged.setdefault((*series, uid), hashlib.sha256(data).hexdigest())

    fuzz()
    until(lambda: server.is_quiet(threads))
    assert server.digests() >= set(acknowledged.values())
    still_well(server, threads, memory, 1_000_003)


def test_lengths_and_types_of_each_pdu(server: ServerProcess) -> None:
    """Every PDU type with each absurd length, before and within an association."""
    threads, memory = warm(server)
    for kind in (*range(9), 0x16, 0x47, 0xFF):
        for length in (0, 1, 4, 6, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF):
            pdu = struct.pack(">BxL", kind, length) + bytes(min(length, 300))
            with talk(server.port, CONVERSATION_SECONDS) as sender:
                sender.send(pdu)
            with talk(server.port, CONVERSATION_SECONDS) as sender:
                sender.associate()
                sender.send(pdu)
    still_well(server, threads, memory, 1_000_004)
