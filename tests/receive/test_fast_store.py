"""The fast path and pynetdicom's way answer the same, keep the same and tell the same of any conversation."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pynetdicom.dsutils import encode

from dicomnode.receive import fast_store
from dicomnode.receive.messages import BoundedMessages
from dicomnode.receive.observer import ReceiveObserver, StoreOutcome
from tests.dicom_network import CT_IMAGE_STORAGE, Node, NodeFactory, dataset_bytes, make_ct
from tests.faults.conversation import (
    ABORT,
    COMMAND,
    LAST,
    RELEASE_REQUEST,
    VERIFICATION,
    Talk,
    echo_command,
    p_data,
    store_command,
    talk,
)

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
CONTEXTS = (CT_IMAGE_STORAGE, VERIFICATION, SEGMENTATION_STORAGE, MR_IMAGE_STORAGE)  # 1, 3, 5; 7 is rejected
ROOT = "1.2.826.0.1.3680043.8.498.7"

PATIENCE_SECONDS = 20

_conversations = itertools.count(1)


@dataclass
class Witness(ReceiveObserver):
    """What observers are told of C-STORE requests, but for the time."""

    outcomes: list[tuple[object, ...]] = field(default_factory=list)

    def instance_answered(self, outcome: StoreOutcome) -> None:
        identity = outcome.identity
        self.outcomes.append(
            (outcome.caller.ae_title, outcome.status, outcome.size, identity, outcome.kept, outcome.series_id)
        )


@dataclass
class Pair:
    fast: Node
    slow: Node
    seen_fast: Witness
    seen_slow: Witness


@pytest.fixture
def pair(start_node: NodeFactory) -> Pair:
    fast, slow = Witness(), Witness()
    limits = {"max_instance_bytes": 9_000_000}
    return Pair(
        start_node(observers=[fast], **limits),
        start_node(observers=[slow], fast=False, **limits),
        fast,
        slow,
    )


@dataclass(frozen=True)
class Step:
    """PDUs, and whether an answer follows before the next step; the last step ends the conversation."""

    pdus: tuple[bytes, ...]
    is_answered: bool = True
    is_last: bool = False


@dataclass(frozen=True)
class Store:
    """A C-STORE request in the making; numbers choose what is sent and how it is cut."""

    number: int = 1
    message_id: int | None = 1
    size: int = 512
    cuts: tuple[int, ...] = ()
    command_cut: int = 0
    values_a_pdu: int = 1
    joined: bool = False
    context_id: int = 1
    data_context_id: int | None = None
    sop_class_uid: str | None = CT_IMAGE_STORAGE
    command_number: int | None = None
    damage: str = ""
    others: tuple[tuple[str, object], ...] = ()

    def step(self, conversation: int) -> Step:
        uid = f"{ROOT}.{conversation}.{self.number}"
        asked = uid if self.command_number is None else f"{ROOT}.{conversation}.{self.command_number}"
        command = store_command(self.sop_class_uid, asked, self.message_id, **dict(self.others))
        commands = [(self.context_id, COMMAND | LAST, command)]
        if self.command_cut:
            cut = self.command_cut % len(command)
            commands = [
                (self.context_id, COMMAND, command[:cut]),
                (self.context_id, COMMAND | LAST, command[cut:]),
            ]
        is_answered = not {"MessageIDBeingRespondedTo", "CommandField"} & dict(self.others).keys()
        data = self._data(uid, conversation)
        places = sorted({cut % (len(data) + 1) for cut in self.cuts} | {0, len(data)})
        pieces = [data[begin:end] for begin, end in itertools.pairwise(places)] or [b""]
        pieces = [
            piece[start : start + 900_000]
            for piece in pieces
            for start in range(0, max(1, len(piece)), 900_000)
        ]
        context_id = self.context_id if self.data_context_id is None else self.data_context_id
        values = [(context_id, 0, piece) for piece in pieces[:-1]] + [(context_id, LAST, pieces[-1])]
        if self.joined:
            return Step(tuple(group(commands + values, self.values_a_pdu)), is_answered)
        return Step((*group(commands, 1), *group(values, self.values_a_pdu)), is_answered)

    def _data(self, uid: str, conversation: int) -> bytes:
        dataset = make_ct(SOPInstanceUID=uid, SeriesInstanceUID=f"{ROOT}.{conversation}")
        dataset[0x7FE00010].value = bytes(self.size % 251 for _ in range(8)) * (self.size // 8)
        data = encode(dataset, False, True) or b""
        if self.damage == "truncated":
            return data[: len(data) // 2 + 1]
        if self.damage == "empty":
            return b""
        if self.damage == "odd":
            return data + b"\0"
        return b"\xff" * 40 if self.damage == "rubbish" else data


def group(values: Sequence[tuple[int, int, bytes]], values_a_pdu: int) -> Iterator[bytes]:
    """P-DATA-TF PDUs with so many presentation data values each."""
    for start in range(0, len(values), values_a_pdu):
        items = b"".join(
            struct.pack(">LBB", len(fragment) + 2, context_id, control) + fragment
            for context_id, control, fragment in values[start : start + values_a_pdu]
        )
        yield struct.pack(">BxL", 4, len(items)) + items


ECHO = Step((p_data(echo_command(), COMMAND | LAST, 3),))
LAST_STEPS = {
    "release": Step((RELEASE_REQUEST,), is_last=True),
    "abort": Step((ABORT,), is_last=True),
    "hang up": Step((), is_last=True),
    "unknown PDU": Step((b"\x09\0\0\0\0\x04abcd",), is_last=True),
    "second A-ASSOCIATE-RQ": Step((b"\x01\0\0\0\0\x04abcd",), is_last=True),
    "P-DATA of nothing": Step((b"\x04\0\0\0\0\0",), is_last=True),
    "P-DATA of one byte": Step((b"\x04\0\0\0\0\x01x",), is_last=True),
    "P-DATA of five bytes": Step((b"\x04\0\0\0\0\x05\0\0\0\x01\x01",), is_last=True),
    "value without control": Step((b"\x04\0\0\0\0\x05\0\0\0\x01\x01", b""), is_last=True),
    "value longer than its PDU": Step((b"\x04\0\0\0\0\x08\0\0\1\0\x01\x02ab",), is_last=True),
    "value shorter than its PDU": Step((b"\x04\0\0\0\0\x08\0\0\0\x03\x01\x02ab",), is_last=True),
    "huge PDU": Step((b"\x04\0\xff\xff\xff\xff\xff\xff\xff\xfb\x01\x02" + bytes(2000),), is_last=True),
    "PDU beyond the limit": Step((b"\x04\0\0\x20\0\0\0\x1f\xff\xfc\x01\x02" + bytes(2000),), is_last=True),
    "cut in a header": Step((b"\x04\0\0",), is_last=True),
    "cut after a header": Step((b"\x04\0\0\0\0\x20\0\0\0\x1c\x01",), is_last=True),
    "data set without a command": Step((p_data(bytes(100), LAST),), is_last=True),
    "command of zeros": Step((p_data(bytes(100), COMMAND | LAST),), is_last=True),
    "command of nothing": Step((p_data(b"", COMMAND | LAST),), is_last=True),
    "a response": Step((p_data(store_command(CommandField=0x8001), COMMAND | LAST),), is_last=True),
    "endless command": Step((p_data(bytes(20_000), COMMAND | LAST),), is_last=True),
}


def ending_in(store: Store, pdus: int, last: str) -> Callable[[int], list[Step]]:
    """A request of which only some PDUs come before something else does."""

    def make(conversation: int) -> list[Step]:
        whole = store.step(conversation).pdus
        beginning = whole[: min(pdus, len(whole) - 1)]  # or the answer would race with what comes
        return [Step(beginning + LAST_STEPS[last].pdus, is_last=True)]

    return make


def commands_within(store: Store, pdus: int) -> Callable[[int], list[Step]]:
    """A command set in the middle of a data set."""

    def make(conversation: int) -> list[Step]:
        whole = store.step(conversation).pdus
        place = min(pdus, len(whole) - 1)
        return [Step((*whole[:place], *ECHO.pdus)), Step(whole[place:], is_last=True)]

    return make


def stores() -> st.SearchStrategy[Store]:
    plain = st.builds(
        Store,
        number=st.integers(1, 4),
        message_id=st.integers(0, 65535),
        size=st.sampled_from([8, 512, 4000, 60_000]),
        cuts=st.lists(st.integers(0, 70_000), max_size=6).map(tuple),
    )
    odd = st.builds(
        Store,
        number=st.integers(1, 4),
        message_id=st.one_of(st.none(), st.integers(0, 65535)),
        size=st.sampled_from([512, 60_000]),
        cuts=st.lists(st.integers(0, 70_000), max_size=4).map(tuple),
        command_cut=st.sampled_from([0, 0, 1, 30]),
        values_a_pdu=st.integers(1, 3),
        joined=st.booleans(),
        context_id=st.sampled_from([1, 1, 1, 3, 5, 7, 2]),
        data_context_id=st.sampled_from([None, None, 1, 5, 99]),
        sop_class_uid=st.sampled_from(
            [CT_IMAGE_STORAGE, SEGMENTATION_STORAGE, MR_IMAGE_STORAGE, "1.2.3", "1.02", None]
        ),
        command_number=st.sampled_from([None, None, 1, 9]),
        damage=st.sampled_from(["", "", "truncated", "empty", "odd", "rubbish"]),
        others=st.sampled_from(
            [
                (),
                (),
                (("Priority", 7),),
                (("Priority", None),),
                (("MoveOriginatorApplicationEntityTitle", "PACS"), ("MoveOriginatorMessageID", 4)),
                (("MoveOriginatorApplicationEntityTitle", "MUCH TOO LONG FOR A TITLE"),),
                (("MessageIDBeingRespondedTo", 4),),
                (("AffectedSOPInstanceUID", None),),
                (("AffectedSOPInstanceUID", "1.2\\3.4"),),
                (("ErrorComment", "why"),),
                (("CommandField", 0x0FFF),),
            ]
        ),
    )
    return st.one_of(plain, plain, odd)


Script = Sequence[Store | Step | Callable[[int], list[Step]]]
SCRIPTS: st.SearchStrategy[Script] = st.builds(
    lambda steps, last: [*steps, last],
    st.lists(st.one_of(stores(), stores(), st.just(ECHO)), max_size=5),
    st.one_of(
        st.sampled_from(list(LAST_STEPS.values())),
        st.builds(ending_in, stores(), st.integers(1, 6), st.sampled_from(list(LAST_STEPS))),
        st.builds(commands_within, stores(), st.integers(1, 6)),
    ),
)

ATTEMPTS = 5
"""A sender that hangs up behind a request races with the answer, either way; what stays different differs."""

LARGE = Store(size=5_000_000, cuts=(900_000, 4_200_000))
TOO_LARGE = Store(size=10_000_000)


@given(script=SCRIPTS, pieces=st.lists(st.integers(1, 5000), max_size=5))
@example(script=[LARGE, Store(number=2), LAST_STEPS["release"]], pieces=[])
@example(script=[Store(number=2), TOO_LARGE, LAST_STEPS["release"]], pieces=[])
@example(script=[Store(), ECHO, Store(size=4000), Store(number=2), LAST_STEPS["release"]], pieces=[7])
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_both_ways_answer_and_keep_the_same(pair: Pair, script: Script, pieces: list[int]) -> None:
    for _ in range(ATTEMPTS):
        fast, slow = both_ways(pair, script, pieces)
        if fast == slow:
            return
    assert fast == slow


def both_ways(pair: Pair, script: Script, pieces: list[int]) -> tuple[object, object]:
    """What each node says, keeps and tells its observers of the same conversation."""
    conversation = next(_conversations)
    steps: list[Step] = []
    for one in script:
        if callable(one):
            steps += one(conversation)
        else:
            steps.append(one if isinstance(one, Step) else one.step(conversation))
    pair.seen_fast.outcomes.clear()
    pair.seen_slow.outcomes.clear()
    said = said_by(pair.fast, steps, pieces), said_by(pair.slow, steps, pieces)
    kept = kept_by(pair.fast, conversation), kept_by(pair.slow, conversation)
    told = list(pair.seen_fast.outcomes), list(pair.seen_slow.outcomes)
    return (said[0], kept[0], told[0]), (said[1], kept[1], told[1])


@given(scripts=st.lists(stores(), min_size=2, max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_requests_that_do_not_wait_for_answers(pair: Pair, scripts: list[Store]) -> None:
    """All at once; those that end the association would race with the answers before them."""
    conversation = next(_conversations)
    harmless = [Store(one.number, number, one.size, one.cuts) for number, one in enumerate(scripts)]
    pdus = tuple(pdu for one in harmless for pdu in (*one.step(conversation).pdus, *ECHO.pdus))
    answers = 2 * len(harmless)
    assert said_by(pair.fast, [Step(pdus)], [], answers) == said_by(pair.slow, [Step(pdus)], [], answers)
    assert kept_by(pair.fast, conversation) == kept_by(pair.slow, conversation)


def said_by(
    node: Node, steps: Sequence[Step], pieces: Sequence[int], answers: int = 1
) -> list[tuple[int, bytes]]:
    """Every PDU that the node says."""
    said: list[tuple[int, bytes]] = []
    with talk(node.port, PATIENCE_SECONDS) as sender:
        sender.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sender.associate(*CONTEXTS)
        for step in steps:
            if not send(sender, b"".join(step.pdus), pieces) or step.is_last:
                if step.pdus[-1:] == (RELEASE_REQUEST,):
                    said.append(sender.read_pdu())  # hanging up at once would race with the answer
                break
            said += [sender.read_pdu() for _ in range(answers if step.is_answered else 0)]
            if said and said[-1][0] != 4:
                break
        with contextlib.suppress(OSError):
            sender.connection.shutdown(socket.SHUT_WR)
        while not said or said[-1][0]:
            said.append(sender.read_pdu())
    return said


def send(sender: Talk, data: bytes, pieces: Sequence[int]) -> bool:
    """In pieces; whether the connection took them."""
    try:
        for size in pieces:
            sender.send(data[:size])
            data = data[size:]
        sender.send(data)
    except OSError:
        return False
    return True


def kept_by(node: Node, conversation: int) -> list[tuple[object, ...]]:
    """Rows and bytes of the conversation's series."""
    uid = f"{ROOT}.{conversation}"
    series = [one for one in node.spool.ledger.list_series() if one.series_instance_uid == uid]
    return [
        (
            one.sop_instance_uid,
            one.sop_class_uid,
            one.transfer_syntax_uid,
            one.calling_ae_title,
            one.sha256,
            one.bytes,
            one.conflicts,
            one.position_mm,
            one.path,
            dataset_bytes(node.spool.directory / one.path),
        )
        for found in series
        for one in node.spool.ledger.instances(found.id)
    ]


def test_a_plain_request_is_not_seen_by_pynetdicom(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    answered: list[object] = []
    original = fast_store.FastStore._answer
    monkeypatch.setattr(
        fast_store.FastStore, "_answer", lambda self, request: (answered.append(1), original(self, request))
    )
    received: list[object] = []
    receive = BoundedMessages.receive_primitive
    monkeypatch.setattr(
        BoundedMessages, "receive_primitive", lambda self, one: (received.append(1), receive(self, one))
    )
    steps = [ECHO, *(Store(number, number, 60_000, (16_000, 32_000)).step(0) for number in range(1, 21))]
    said = said_by(node, [*steps, LAST_STEPS["release"]], [])
    assert len(said) == 1 + 20 + 2
    assert len(answered) >= 10  # the echo may not be over when the first commands arrive
    assert len(received) <= 1 + 4 * (20 - len(answered))
    assert len(node.instances()) == 20
