"""What the node accepts at association negotiation."""

from __future__ import annotations

from collections.abc import Iterable

from pynetdicom.presentation import PresentationContext, build_context

from dicomnode.storage_commitment import SOP_CLASS as STORAGE_COMMITMENT

VERIFICATION = "1.2.840.10008.1.1"

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
STORAGE_SOP_CLASSES = {
    CT_IMAGE_STORAGE: "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR Storage",
}
"""The SOP classes that can be stored.

Enhanced CT isn't among them: the node can't measure it, so the sender learns that at negotiation, not
after a transfer.
"""


def supported_contexts(decodable_transfer_syntaxes: Iterable[str]) -> list[PresentationContext]:
    """Verification, storage commitment, and every storage SOP class with what can be decoded here.

    Parameters
    ----------
    decodable_transfer_syntaxes:
        UIDs. Explicit and Implicit VR Little Endian are always accepted.
    """
    transfer_syntaxes = list(
        dict.fromkeys((EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, *decodable_transfer_syntaxes))
    )
    plain = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN]
    contexts = [build_context(VERIFICATION, plain), build_context(STORAGE_COMMITMENT, plain)]
    contexts.extend(build_context(sop_class, transfer_syntaxes) for sop_class in STORAGE_SOP_CLASSES)
    return contexts


def follow_proposal(
    supported: Iterable[PresentationContext], proposed: Iterable[PresentationContext]
) -> list[PresentationContext]:
    """``supported`` with transfer syntaxes in the order in which the sender proposes them.

    A sender that leaves the choice proposes the encoding of its files first; taking another one would make
    it decode and encode them.
    """
    wishes: dict[str, list[str]] = {}
    for context in proposed:
        wishes.setdefault(str(context.abstract_syntax), []).extend(map(str, context.transfer_syntax))
    contexts = [build_context(context.abstract_syntax, _in_order(wishes, context)) for context in supported]
    for context in contexts:
        if context.abstract_syntax == STORAGE_COMMITMENT:
            # Senders ask as SCU; destinations report as SCP, with role selection (PS3.7 D.3.3.4).
            context.scu_role = context.scp_role = True
    return contexts


def _in_order(wishes: dict[str, list[str]], context: PresentationContext) -> list[str]:
    supported = [str(uid) for uid in context.transfer_syntax]
    wished = dict.fromkeys(wishes.get(str(context.abstract_syntax), []))
    return [uid for uid in wished if uid in supported] + [uid for uid in supported if uid not in wished]
