"""Unique identifiers that follow from what they name, so that the same input gives the same objects."""

from __future__ import annotations

import uuid

NAMESPACE = uuid.UUID("6f1d1f9e-3f0a-5b0e-9d0c-2a7d6c1e8b54")
"""Fixed for ever: another namespace would give every series a second set of results."""


def derive_uid(*parts: str) -> str:
    """UID under 2.25 (PS3.5 B.2) from the UUID version 5 (RFC 9562, 5.5) of ``parts``.

    Parts are joined with their lengths, so ``("ab", "c")`` and ``("a", "bc")`` differ.

    Raises
    ------
    ValueError
        If there is nothing to derive from.
    """
    if not any(parts):
        raise ValueError("a UID needs at least one part that isn't empty")
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(NAMESPACE, name).int}"


IMPLEMENTATION_CLASS_UID = derive_uid("dicomnode", "implementation class")
DEVICE_OBSERVER_UID = derive_uid("dicomnode", "device observer")
