"""Command sets as bytes: what is understood is what pynetdicom understands, and the response is its own."""

from __future__ import annotations

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode
from pynetdicom.pdu import P_DATA_TF

from dicomnode.receive.store_command import StoreCommand, read_store_command, store_response
from tests.faults.conversation import store_command

UIDS = st.from_regex(r"\A[0-2](\.(0|[1-9][0-9]{0,6})){1,8}\Z")


@given(sop_class=UIDS, sop_instance=UIDS, message_id=st.integers(0, 65535), priority=st.integers(0, 2))
def test_a_plain_request(sop_class: str, sop_instance: str, message_id: int, priority: int) -> None:
    encoded = store_command(sop_class, sop_instance, message_id, Priority=priority)
    assert read_store_command(encoded) == StoreCommand(sop_class, sop_instance, message_id)


def test_a_request_on_behalf_of_a_mover() -> None:
    others = {"MoveOriginatorApplicationEntityTitle": "PACS", "MoveOriginatorMessageID": 7}
    assert read_store_command(store_command("1.2", "1.3", 4, **others)) == StoreCommand("1.2", "1.3", 4)


@given(
    place=st.integers(0, 200), value=st.integers(0, 255), end=st.integers(0, 200), more=st.binary(max_size=9)
)
def test_what_is_not_plain_is_left_alone(place: int, value: int, end: int, more: bytes) -> None:
    """A damaged request is not understood, or as pydicom understands it."""
    damaged = bytearray(store_command("1.2.840.10008.5.1.4.1.1.2", "1.2.3", 5))
    damaged[place % len(damaged)] = value
    encoded = bytes(damaged[: end or None]) + more
    found = read_store_command(encoded)
    if found is None:
        return
    command: Dataset = decode(BytesIO(encoded), True, True)
    assert command.CommandField == 1
    assert command.CommandDataSetType != 0x0101
    assert found == StoreCommand(
        str(command.AffectedSOPClassUID), str(command.AffectedSOPInstanceUID), command.MessageID
    )


@given(
    sop_class=UIDS,
    sop_instance=UIDS,
    message_id=st.integers(0, 65535),
    context_id=st.integers(0, 127).map(lambda number: 2 * number + 1),
    answer=st.sampled_from([(0, ""), (0xA700, "not enough free disk space"), (0xC000, "truncated")]),
)
def test_the_response_is_the_one_of_pynetdicom(
    sop_class: str, sop_instance: str, message_id: int, context_id: int, answer: tuple[int, str]
) -> None:
    status, comment = answer
    response = C_STORE()
    response.MessageIDBeingRespondedTo = message_id
    response.AffectedSOPClassUID, response.AffectedSOPInstanceUID = sop_class, sop_instance
    response.Status = status
    if comment:
        response.ErrorComment = comment
    message = C_STORE_RSP()
    message.primitive_to_message(response)
    (primitive,) = message.encode_msg(context_id, 0)
    request = StoreCommand(sop_class, sop_instance, message_id)
    assert store_response(request, context_id, status, comment) == P_DATA_TF(primitive).encode()
