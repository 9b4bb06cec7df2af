"""UIDs that were looked at before aren't looked at again.

pynetdicom 3.0.4 matches each UID of an association request against regular expressions five to ten times;
dcmtk's storescu proposes 128 presentation contexts, which takes longer than storing ten slices.
"""

from __future__ import annotations

import functools
from typing import Any

from pydicom.uid import UID
from pynetdicom import pdu_items, pdu_primitives, presentation, utils
from pynetdicom.presentation import PresentationContext

_REMEMBERED = 4096
_add_transfer_syntax = PresentationContext.add_transfer_syntax


def remember_uids() -> None:
    """Have pynetdicom remember what it found of a UID, for the whole process."""
    for module in (pdu_items, pdu_primitives, presentation):
        module.set_uid = checked_uid
    PresentationContext.add_transfer_syntax = _add_remembered


@functools.lru_cache(_REMEMBERED, typed=True)
def checked_uid(value: Any, *arguments: Any, **keywords: Any) -> UID | None:
    """pynetdicom's ``set_uid``; an error is found anew each time."""
    found: UID | None = utils.set_uid(value, *arguments, **keywords)
    return found


@functools.lru_cache(_REMEMBERED, typed=True)
def _checked_transfer_syntax(syntax: str) -> tuple[UID, ...]:
    context = PresentationContext()
    _add_transfer_syntax(context, syntax)
    return tuple(context._transfer_syntax)


def _add_remembered(context: PresentationContext, syntax: str | bytes | None) -> None:
    """Take the place of ``PresentationContext.add_transfer_syntax``."""
    if not isinstance(syntax, str):
        _add_transfer_syntax(context, syntax)
        return
    for uid in _checked_transfer_syntax(syntax):
        if uid not in context._transfer_syntax:
            context._transfer_syntax.append(uid)
