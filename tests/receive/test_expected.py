"""What the node itself asked for by C-MOVE is handed over and not kept."""

from __future__ import annotations

from io import BytesIO

import pytest

from dicomnode.receive import expected as module
from dicomnode.receive.expected import ExpectedInstances
from tests.dicom_network import make_ct


def file_of(number: int) -> tuple[str, bytes]:
    dataset = make_ct(number)
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return str(dataset.SOPInstanceUID), content.getvalue()


def test_only_what_was_asked_for_is_taken() -> None:
    expected = ExpectedInstances()
    (one, content), (other, unasked) = file_of(1), file_of(2)
    came = expected.wait([one])
    assert expected.take(one, (content[:200], memoryview(content)[200:]))
    assert not expected.take(other, (unasked,))
    assert [dataset.SOPInstanceUID for dataset in came().values()] == [one]
    assert came() == {}, "handed over once"


def test_what_comes_too_late_is_still_no_news() -> None:
    expected = ExpectedInstances()
    one, content = file_of(1)
    came = expected.wait([one])
    assert came() == {}
    assert expected.take(one, (content,))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    monkeypatch.setattr(module, "MAXIMUM_BYTES", 100)
    expected = ExpectedInstances()
    files = [file_of(number) for number in (1, 2, 3)]
    waits = [expected.wait([uid]) for uid, _ in files]
    assert not expected.take(*_offer(files[0])), "forgotten"
    assert expected.take(*_offer(files[2])), "too long to be held, and yet asked for"
    assert [wait() for wait in waits] == [{}, {}, {}]


def _offer(file: tuple[str, bytes]) -> tuple[str, tuple[bytes]]:
    return file[0], (file[1],)
