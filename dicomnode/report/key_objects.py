"""Key Object Selection (PS3.3 A.35.4, TID 2010): the images that a reader should see first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.sr.coding import Code

from dicomnode.report.content import container, image, language_and_observer, text, write_document
from dicomnode.report.header import ObjectUids, SeriesReference, evidence, new_object
from dicomnode.report.identity import Identity

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
KEY_OBJECT_TEMPLATE = "2010"
OF_INTEREST = Code("113000", "DCM", "Of Interest")
DESCRIPTION = Code("113012", "DCM", "Key Object Description")
SENTENCE = "Slices with the largest area of lung opacities, spread over the lungs. Chosen by software."


def write_key_objects(
    path: Path,
    images: SeriesReference,
    *,
    uids: ObjectUids,
    identity: Identity,
    software: Sequence[str],
    description: str,
) -> None:
    """Write a selection "Of Interest" of ``images``, from head to feet.

    TID 2010 gives an image no concept name.
    """
    dataset = new_object(uids, identity, kind="ko", modality="KO", description=description, software=software)
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = evidence(identity.study_instance_uid, [images])
    root = container(
        OF_INTEREST,
        [
            *language_and_observer(),
            text(DESCRIPTION, SENTENCE),
            *(image(*reference) for reference in images.instances),
        ],
        KEY_OBJECT_TEMPLATE,
        relationship=None,
    )
    write_document(path, dataset, root, identity)
