"""The head of a spool file as pydicom reads it."""

from __future__ import annotations

from io import BytesIO

from pydicom import dcmread
from pydicom.uid import JPEGLosslessSV1

from dicomnode.receive.file_meta import file_head


def test_a_reader_finds_everything_in_the_head() -> None:
    head = file_head("1.2.840.10008.5.1.4.1.1.2", "1.2.3.45", str(JPEGLosslessSV1), "SCANNER")
    meta = dcmread(BytesIO(head)).file_meta
    assert meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.45"
    assert meta.TransferSyntaxUID == JPEGLosslessSV1
    assert meta.SourceApplicationEntityTitle == "SCANNER"
    assert meta.FileMetaInformationGroupLength == len(head) - 144
    assert len(head) % 2 == 0
