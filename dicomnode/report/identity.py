"""Patient and study of the source, byte for byte, whatever the character set.

Only the padding to even length may differ: a null byte at the end of a text becomes the space it should be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from dicomnode.report.encoding import encode_element, encode_sequence
from dicomnode.report.errors import ReportError
from dicomnode.report.text import ascii_text

IDENTITY_KEYWORDS = (
    "SpecificCharacterSet",
    # General Study, PS3.3 C.7.2.1
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "ConsultingPhysicianName",
    "StudyID",
    "StudyDescription",
    "PhysiciansOfRecord",
    "TimezoneOffsetFromUTC",
    # Patient, C.7.1.1
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientComments",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # Patient Study, C.7.2.2
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    # Clinical Trial Subject and Study, C.7.1.3 and C.7.2.3
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)
TYPE_2_KEYWORDS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
)
TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI"}
) | {
    "UR",
    "UT",
}
OF_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""What Specific Character Set governs (PS3.5 6.1.2.2)."""

CHARACTER_SET = 0x00080005
UTF_8 = b"ISO_IR 192"
EQUIPMENT_KEYWORDS = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
DATE_KEYWORDS = ("Content", "Acquisition", "Series", "Study")
UNKNOWN_DATE = "19000101"
UNKNOWN_TIME = "000000"
DATE = re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")


@dataclass(frozen=True)
class Identity:
    """Who and what the source is of.

    Parameters
    ----------
    elements:
        Encoded elements (Explicit VR Little Endian) by tag, to be written as they are.
    study_instance_uid, series_instance_uid:
        Of the source; the latter is empty where the source has none.
    series_number:
        Of the source; 0 where it has none.
    content_date, content_time:
        The best date and time the source knows (DA, TM); results carry them, so that the same source gives
        the same bytes on any day. 19000101 where the source has no date at all.
    equipment:
        What made the source: elements of its General Equipment module by keyword, ASCII.
    """

    elements: dict[int, bytes]
    study_instance_uid: str
    series_instance_uid: str
    series_number: int
    content_date: str
    content_time: str
    equipment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_source(cls, source: Dataset, *, in_utf8: bool = False) -> Identity:
        """Identity of a dataset as read, its values not touched before.

        ``in_utf8`` encodes its text anew: for objects with text of ours that the source's characters lack.

        Raises
        ------
        ReportError
            If it has no Study Instance UID: a result would belong to no study.
        """
        study_uid = text_value(source, "StudyInstanceUID")
        if not study_uid:
            raise ReportError("the source has no Study Instance UID, so no result can be filed in its study")
        elements = {}
        for keyword in IDENTITY_KEYWORDS:
            tag = tag_for_keyword(keyword)
            encoded = (
                _encode_copy(source, tag, in_utf8=in_utf8) if tag is not None and tag in source else None
            )
            if tag is not None and (encoded is not None or keyword in TYPE_2_KEYWORDS):
                elements[tag] = encoded or encode_element(tag, dictionary_VR(tag), b"")
        if in_utf8:
            elements[CHARACTER_SET] = encode_element(CHARACTER_SET, "CS", UTF_8)
        number = text_value(source, "SeriesNumber")
        date, time = _date_and_time(source)
        return cls(
            elements=elements,
            study_instance_uid=study_uid,
            series_instance_uid=text_value(source, "SeriesInstanceUID"),
            series_number=int(number) if re.fullmatch(r"\d{1,7}", number) else 0,
            content_date=date,
            content_time=time,
            equipment={
                keyword: value
                for keyword in EQUIPMENT_KEYWORDS
                if (value := ascii_text(text_value(source, keyword), 64))
            },
        )


def read_header(path: Path) -> Dataset:
    """Elements of a DICOM file up to the pixel data; any transfer syntax, with or without a preamble.

    Raises
    ------
    ReportError
        If the file can't be read as DICOM.
    """
    try:
        return dcmread(path, stop_before_pixels=True, force=True)
    except (OSError, InvalidDicomError, EOFError, ValueError, NotImplementedError) as error:
        raise ReportError(f"the header of {path.name} can't be read: {type(error).__name__}") from error


def text_value(source: Dataset, keyword: str) -> str:
    """First value of an ASCII element as text without padding; empty where it is absent or not ASCII."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in source:
        return ""
    return _value_bytes(source, tag).decode("ascii", "replace").split("\\")[0].strip(" \0")


def verify_identity(path: Path, identity: Identity) -> None:
    """Read ``path`` back and compare each identity element with the source's bytes.

    Raises
    ------
    ReportError
        If one differs: such a file must not leave the house.
    """
    with path.open("rb") as file:
        written = dcmread(file, specific_tags=list(identity.elements), stop_before_pixels=True)
    for tag, encoded in identity.elements.items():
        copied = _encode_copy(written, tag) if tag in written else None
        if (copied or encode_element(tag, dictionary_VR(tag), b"")) != encoded:
            raise ReportError(
                f"{path.name}: ({tag >> 16:04X},{tag & 0xFFFF:04X}) differs from the source's; not usable"
            )


def _encode_copy(source: Dataset, tag: int, *, in_utf8: bool = False) -> bytes | None:
    """The element re-encoded around its original bytes; None for a binary value, which no identity has."""
    vr = dictionary_VR(tag)
    if vr == "SQ":
        element = source[tag]
        if element.VR != "SQ":
            return None
        return encode_sequence(tag, [_encode_item(item, in_utf8=in_utf8) for item in element.value])
    if vr not in TEXT_VRS:
        return None
    value = _utf8_value(source, tag) if in_utf8 and vr in OF_CHARACTER_SET else _value_bytes(source, tag)
    # a null byte is legal padding in a UID only; some writers pad every value with it
    return encode_element(tag, vr, value if vr == "UI" else value.rstrip(b"\0"))


def _utf8_value(source: Dataset, tag: int) -> bytes:
    value = source[tag].value
    values = value if not isinstance(value, str) and isinstance(value, Sequence) else [value]
    return "\\".join("" if v is None else str(v) for v in values).encode("utf-8")


def _encode_item(item: Dataset, *, in_utf8: bool) -> bytes:
    known = (int(tag) for tag in sorted(item.keys()) if not tag.is_private and tag.element != 0)
    copies = (_encode_copy(item, tag, in_utf8=in_utf8) for tag in known if _in_dictionary(tag))
    return b"".join(copy for copy in copies if copy is not None)


def _in_dictionary(tag: int) -> bool:
    try:
        dictionary_VR(tag)
    except KeyError:
        return False
    return True


def _value_bytes(source: Dataset, tag: int) -> bytes:
    element = source.get_item(tag)
    if element is None:
        return b""
    if element.is_raw:
        return element.value or b""
    # pydicom decodes what steers its own reading (Specific Character Set): ASCII by definition
    value = element.value
    values = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
    return "\\".join("" if v is None else str(v) for v in values).encode("ascii", "replace")


def _date_and_time(source: Dataset) -> tuple[str, str]:
    for kind in DATE_KEYWORDS:
        date = text_value(source, f"{kind}Date")
        if DATE.fullmatch(date):
            time = text_value(source, f"{kind}Time")
            return date, time if TIME.fullmatch(time) else UNKNOWN_TIME
    return UNKNOWN_DATE, UNKNOWN_TIME
