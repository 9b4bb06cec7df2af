"""The tables of answers: every status has a row, with the verdict that the standard asks for."""

from __future__ import annotations

import pytest

from dicomnode.deliver.refusal import C_STORE_ANSWERS, HTTP_ANSWERS, Verdict, c_store_answer, http_answer


@pytest.mark.parametrize(
    ("first", "last", "verdict"),
    [
        (0x0000, 0x0000, Verdict.STORED),
        (0xB000, 0xB000, Verdict.STORED),
        (0xB006, 0xB007, Verdict.STORED),
        (0x0122, 0x0122, Verdict.KIND_REFUSED),
        (0xA900, 0xA9FF, Verdict.OBJECT_REFUSED),
        (0xC000, 0xCFFF, Verdict.OBJECT_REFUSED),
        (0xA700, 0xA7FF, Verdict.NOT_NOW),
        (0x0110, 0x0110, Verdict.NOT_NOW),
        (0x0124, 0x0124, Verdict.NOT_NOW),
        (0xFE00, 0xFE00, Verdict.NOT_NOW),
        (0xB001, 0xB005, Verdict.NOT_NOW),
    ],
)
def test_c_store(first: int, last: int, verdict: Verdict) -> None:
    assert {c_store_answer(status).verdict for status in range(first, last + 1)} == {verdict}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.STORED),
        (202, Verdict.NOT_NOW),
        (204, Verdict.UNREACHABLE),
        (302, Verdict.UNREACHABLE),
        (400, Verdict.OBJECT_REFUSED),
        (401, Verdict.UNREACHABLE),
        (404, Verdict.UNREACHABLE),
        (409, Verdict.OBJECT_REFUSED),
        (413, Verdict.OBJECT_REFUSED),
        (415, Verdict.OBJECT_REFUSED),
        (500, Verdict.LOST),
        (502, Verdict.UNREACHABLE),
        (503, Verdict.UNREACHABLE),
    ],
)
def test_http(status: int, verdict: Verdict) -> None:
    assert http_answer(status).verdict is verdict


def test_each_row_can_be_reached_and_says_where_it_comes_from() -> None:
    for find, table in ((c_store_answer, C_STORE_ANSWERS), (http_answer, HTTP_ANSWERS)):
        for row in table:
            assert any(find(status) is row for status in range(row.first, row.last + 1)), row
            assert row.reference
            assert row.sentence or row.verdict is Verdict.STORED
    assert c_store_answer(0x1FFFF).verdict is Verdict.NOT_NOW
