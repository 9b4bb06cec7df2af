"""The result as Encapsulated PDF (PS3.3 A.45.1): what a system without SR shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dicomnode.measure.measurements import Measurements
from dicomnode.report.canvas import Page
from dicomnode.report.encoding import encode_element
from dicomnode.report.header import ObjectUids, SeriesReference, instance_references, new_object
from dicomnode.report.identity import Identity
from dicomnode.report.part10 import write_part10
from dicomnode.report.pdf import TITLE, Chapter, pdf_of
from dicomnode.report.provenance import Provenance
from dicomnode.report.record import measurements_record
from dicomnode.report.remarks import remarks

ENCAPSULATED_PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
ENCAPSULATED_DOCUMENT = 0x00420011


def write_pdf(
    path: Path,
    page: Page,
    measurements: Measurements,
    provenance: Provenance,
    *,
    uids: ObjectUids,
    identity: Identity,
    source: SeriesReference,
    software: Sequence[str],
    description: str,
) -> None:
    """Write ``page``, and after it the report's remarks and the provenance, as a document of modality DOC."""
    dataset = new_object(
        uids, identity, kind="pdf", modality="DOC", description=description, software=software
    )
    dataset.ConversionType = "WSD"
    dataset.AcquisitionDateTime = ""
    dataset.BurnedInAnnotation = "NO"
    dataset.SourceInstanceSequence = instance_references(source.instances)
    dataset.DocumentTitle = TITLE
    dataset.ConceptNameCodeSequence = []
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document = pdf_of(page, chapters(measurements, provenance))
    dataset.EncapsulatedDocumentLength = len(document)
    encoded = encode_element(ENCAPSULATED_DOCUMENT, "OB", document)
    write_part10(path, dataset, identity.elements | {ENCAPSULATED_DOCUMENT: encoded})


def chapters(measurements: Measurements, provenance: Provenance) -> list[Chapter]:
    """The remarks of the report in its own words, and what made the numbers."""
    said = [
        (item.name.meaning, item.text)
        for item in remarks(measurements, measurements_record(measurements))
        if item.name is not None and item.text is not None
    ]
    made = [
        f"Software: {provenance.software}",
        f"Model: {provenance.model} {provenance.model_version}",
        *(f"Parameter: {parameter}" for parameter in provenance.parameters),
        f"Weights, SHA-256: {provenance.weights_sha256}",
        f"Configuration, SHA-256: {provenance.config_sha256}",
        f"Input, SHA-256: {provenance.input_sha256}",
    ]
    if provenance.correction is not None:
        made.insert(2, "The masks were corrected by a person.")
    return [*said, *(("Provenance", one) for one in made)]
