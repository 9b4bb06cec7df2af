"""UIDs that follow from what they name."""

from __future__ import annotations

import re

import pytest

from dicomnode.report.uids import derive_uid


def test_the_same_parts_give_the_same_valid_uid() -> None:
    uid = derive_uid("1.2.3", "seg")
    assert uid == derive_uid("1.2.3", "seg")
    assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", uid) and len(uid) <= 64


def test_the_namespace_never_changes() -> None:
    assert derive_uid("a") == "2.25.282685167426202462577345827444705079715"


def test_borders_between_parts_count() -> None:
    assert derive_uid("ab", "c") != derive_uid("a", "bc")
    assert derive_uid("a", "") != derive_uid("a")


def test_nothing_names_nothing() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        derive_uid("", "")
