"""What is remembered of a UID is what pynetdicom finds of it."""

from __future__ import annotations

import pytest
from pynetdicom.presentation import PresentationContext
from pynetdicom.utils import set_uid

from dicomnode.receive import known_uids

VALUES = ["1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", "1.2.3", "", "1.02", None, "9" * 65, "abc"]


def outcome(find: object, *arguments: object) -> object:
    try:
        return find(*arguments)  # type: ignore[operator]
    except (TypeError, ValueError) as error:
        return str(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", VALUES)
def test_a_uid_is_found_the_same_the_first_time_and_later(value: object) -> None:
    expected = outcome(set_uid, value, "SOP Class UID")
    found = [outcome(known_uids.checked_uid, value, "SOP Class UID") for _ in range(3)]
    assert found == [expected] * 3
    assert {type(one) for one in found} == {type(expected)}


@pytest.mark.filterwarnings("ignore")
def test_transfer_syntaxes_are_added_the_same() -> None:
    for value in VALUES:
        contexts = [PresentationContext() for _ in range(3)]
        for context in contexts[1:]:
            outcome(known_uids._add_remembered, context, value)
            outcome(known_uids._add_remembered, context, value)
        outcome(known_uids._add_transfer_syntax, contexts[0], value)
        assert [one._transfer_syntax for one in contexts] == [contexts[0]._transfer_syntax] * 3
