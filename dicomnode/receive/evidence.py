"""What each kind of evidence says about a series; plain functions of what is known, nothing is asked here."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from dicomnode.slice_spacing import GRID_TOLERANCE_SHARE, spacing_tolerance_mm
from dicomnode.spool.records import CommitmentListing

FEWEST_SLICES = 10
LEAST_COVERAGE_MM = 100.0
"""A gap-free stack smaller than this may well be the first part of one; a chest is 250 mm and more."""


class Says(Enum):
    """What evidence can say."""

    COMPLETE = "complete"
    MISSING = "missing"  # something is still to come
    NOTHING = "nothing"  # ask weaker evidence


@dataclass(frozen=True)
class Opinion:
    """What one kind of evidence says, and the sentence with the numbers.

    Parameters
    ----------
    at_once:
        Whether it needs no moment of quiet before it is believed.
    """

    says: Says
    sentence: str = ""
    at_once: bool = False


@dataclass(frozen=True)
class SourceAnswer:
    """What the count source knows of a series.

    Parameters
    ----------
    source:
        Its AE title.
    sop_instance_uids:
        ``None`` if it doesn't list them.
    count:
        ``None`` if it doesn't tell.
    problem:
        Why it says nothing, in words.
    """

    source: str
    sop_instance_uids: frozenset[str] | None = None
    count: int | None = None
    problem: str = ""


NO_OPINION = Opinion(Says.NOTHING)


def opinion_of_sender(listings: Sequence[CommitmentListing], kept: Collection[str]) -> Opinion:
    """From storage commitment requests, newest first.

    One that lists every kept instance and no other is enough. Senders that ask in portions are believed,
    too, after a moment of quiet: every kept instance is in some request and nothing in any is missing.
    So is a request for a few instances only, since it may be one request an instance.
    """
    everything = frozenset(kept)
    if not listings or not everything:
        return NO_OPINION
    newest = listings[0]
    sentence = f"storage commitment: the sender listed {len(everything)} instances, all kept"
    if newest.held >= everything and not newest.missing:
        return Opinion(Says.COMPLETE, sentence, at_once=len(everything) >= FEWEST_SLICES)
    listed = frozenset[str]().union(*(listing.held for listing in listings)) & everything
    missing = frozenset[str]().union(*(listing.missing for listing in listings))
    if missing:
        told = f"{len(listed)} of the {len(listed) + len(missing)} instances that the sender listed came"
        return Opinion(Says.MISSING, told)
    return Opinion(Says.COMPLETE, sentence) if listed == everything else NO_OPINION


def opinion_of_source(answer: SourceAnswer, kept: Collection[str]) -> Opinion:
    """From a C-FIND at the count source; a list of UIDs is exact, a number is all that some can tell."""
    came = len(kept)
    if answer.sop_instance_uids is not None:
        listed = len(answer.sop_instance_uids)
        there = len(answer.sop_instance_uids & frozenset(kept))
    elif answer.count is not None:
        listed, there = answer.count, min(answer.count, came)
    else:
        return Opinion(Says.NOTHING, f"{answer.source} doesn't tell the count: {answer.problem}")
    if there < listed:
        return Opinion(Says.MISSING, f"{there} of the {listed} instances that {answer.source} lists came")
    if listed < came:
        return Opinion(Says.NOTHING, f"{answer.source} lists {listed} instances only, {came} came")
    return Opinion(Says.COMPLETE, f"the source {answer.source} lists {listed} instances, all kept")


def opinion_of_stack(positions_mm: Sequence[float | None]) -> Opinion:
    """From the positions of slices whose associations were all released: an even stack without a gap."""
    known = sorted(position for position in positions_mm if position is not None)
    if len(known) < max(FEWEST_SLICES, len(positions_mm)) or known[-1] - known[0] < LEAST_COVERAGE_MM:
        return NO_OPINION
    gaps = [after - before for before, after in itertools.pairwise(known)]
    usual = statistics.median(gaps)
    if max(abs(gap - usual) for gap in gaps) > spacing_tolerance_mm(usual) or usual <= 0:
        return NO_OPINION
    mean = (known[-1] - known[0]) / len(gaps)
    drift = max(abs(position - known[0] - place * mean) for place, position in enumerate(known))
    if drift > GRID_TOLERANCE_SHARE * usual:
        return NO_OPINION
    return Opinion(
        Says.COMPLETE,
        f"released, {len(known)} slices from {known[0]:.1f} to {known[-1]:.1f} mm without a gap",
    )
