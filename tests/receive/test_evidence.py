"""What each kind of evidence says."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dicomnode.assemble.headers import SliceHeader
from dicomnode.assemble.refusal import SeriesRefusedError
from dicomnode.assemble.stack import SliceStack, refuse_duplicate_position, refuse_gap
from dicomnode.receive.evidence import (
    Says,
    SourceAnswer,
    opinion_of_sender,
    opinion_of_source,
    opinion_of_stack,
)
from dicomnode.spool.records import CommitmentListing

UIDS = frozenset(f"1.2.{number}" for number in range(120))


def listing(held: frozenset[str], missing: frozenset[str] = frozenset()) -> CommitmentListing:
    return CommitmentListing("CT1", f"1.9.{len(held)}", held, missing)


def test_one_request_that_lists_everything_is_believed_at_once() -> None:
    opinion = opinion_of_sender([listing(UIDS)], UIDS)
    assert (opinion.says, opinion.at_once) == (Says.COMPLETE, True)
    assert opinion.sentence == "storage commitment: the sender listed 120 instances, all kept"


def test_a_request_for_a_few_instances_is_believed_after_a_moment() -> None:
    few = frozenset(list(UIDS)[:3])
    opinion = opinion_of_sender([listing(few)], few)
    assert (opinion.says, opinion.at_once) == (Says.COMPLETE, False)


def test_portions_together_list_everything() -> None:
    half = frozenset(list(UIDS)[:60])
    opinion = opinion_of_sender([listing(UIDS - half), listing(half)], UIDS)
    assert (opinion.says, opinion.at_once) == (Says.COMPLETE, False)
    assert opinion_of_sender([listing(half)], UIDS).says is Says.NOTHING


def test_what_the_sender_listed_and_is_not_here_is_missing() -> None:
    opinion = opinion_of_sender([listing(UIDS, frozenset({"1.3", "1.4"}))], UIDS)
    assert opinion.says is Says.MISSING
    assert opinion.sentence == "120 of the 122 instances that the sender listed came"


def test_a_newer_request_without_the_missing_ones_counts() -> None:
    given_up = listing(UIDS, frozenset({"1.3"}))
    assert opinion_of_sender([listing(UIDS), given_up], UIDS).says is Says.COMPLETE


@pytest.mark.parametrize(
    ("answer", "says", "sentence"),
    [
        (SourceAnswer("PACS", UIDS), Says.COMPLETE, "the source PACS lists 120 instances, all kept"),
        (
            SourceAnswer("PACS", UIDS | {"1.3", "1.4"}),
            Says.MISSING,
            "120 of the 122 instances that PACS lists came",
        ),
        (
            SourceAnswer("PACS", frozenset(list(UIDS)[:119]) | {"1.3"}),
            Says.MISSING,
            "119 of the 120 instances that PACS lists came",
        ),
        (SourceAnswer("PACS", frozenset({"1.2.1"})), Says.NOTHING, "PACS lists 1 instances only, 120 came"),
        (SourceAnswer("PACS", count=120), Says.COMPLETE, "the source PACS lists 120 instances, all kept"),
        (SourceAnswer("PACS", count=121), Says.MISSING, "120 of the 121 instances that PACS lists came"),
        (SourceAnswer("PACS", problem="no route"), Says.NOTHING, "PACS doesn't tell the count: no route"),
    ],
)
def test_what_the_source_says(answer: SourceAnswer, says: Says, sentence: str) -> None:
    opinion = opinion_of_source(answer, UIDS)
    assert (opinion.says, opinion.sentence) == (says, sentence)


def test_a_stack_without_a_gap() -> None:
    opinion = opinion_of_stack([-310.0 + 3 * place for place in range(120)])
    assert (opinion.says, opinion.at_once) == (Says.COMPLETE, False)
    assert opinion.sentence == "released, 120 slices from -310.0 to 47.0 mm without a gap"


@pytest.mark.parametrize(
    "positions",
    [
        [],
        [3.0 * place for place in range(60) if place != 30],
        [3.0 * place for place in range(60)] + [5.0],
        [3.0 * place for place in range(60)] * 2,
        [3.0 * place for place in range(9)],
        [3.0 * place for place in range(20)],
        [*(3.0 * place for place in range(60)), None],
        [None] * 60,
        [0.0] * 60,
        [1.25 * place for place in range(60)] + [75 + 1.45 * place for place in range(60)],
    ],
    ids=["none", "gap", "between", "twice", "few", "short", "unplaced", "document", "same", "drifting"],
)
def test_what_is_no_evidence(positions: list[float | None]) -> None:
    assert opinion_of_stack(positions).says is Says.NOTHING


def test_the_same_jitter_is_a_gap_here_and_where_it_is_measured() -> None:
    """Else a series would wait that could be measured, or be refused as if it were complete."""
    chance = random.Random(3)
    seen = set()
    for _ in range(200):
        spacing, jitter = chance.choice([0.7, 1.25, 3.0, 5.0]), chance.choice([0.0, 0.05, 0.15, 0.3, 0.6])
        positions = [spacing * place + chance.uniform(-jitter, jitter) for place in range(160)]
        says = opinion_of_stack(positions).says
        assert (says is Says.COMPLETE) == _is_measurable(positions)
        seen.add(says)
    assert len(seen) == 2


def _is_measurable(positions: list[float]) -> bool:
    headers = tuple(SliceHeader.__new__(SliceHeader) for _ in positions)
    along = np.sort(np.array(positions))
    places = np.outer(along, (0.0, 0.0, 1.0))
    x, y, z = np.eye(3)
    for header in headers:
        for name in ("acquisition_number", "kernel", "slice_thickness", "image_type"):
            object.__setattr__(header, name, None)
    stack = SliceStack(headers, places, along, x, y, z)
    try:
        refuse_duplicate_position(stack)
        refuse_gap(stack)
    except SeriesRefusedError:
        return False
    return True
