"""How a phantom is written as DICOM: encoding, orientation, order, identity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from pydicom.uid import RE_VALID_UID, ExplicitVRLittleEndian

from dicomnode.phantom.encode import TRANSFER_SYNTAXES
from dicomnode.phantom.spec import PhantomError


class PatientPosition(StrEnum):
    """How the patient lay (PS3.3 C.7.3.1.1.2); prone images come turned by 180 degrees, as from a scanner."""

    HFS = "HFS"
    FFS = "FFS"
    HFP = "HFP"
    FFP = "FFP"


class SliceOrder(StrEnum):
    """How instance numbers run; they never decide where a slice lies."""

    ASCENDING = "ascending"  # from feet to head
    DESCENDING = "descending"
    SHUFFLED = "shuffled"


class PixelFormat(StrEnum):
    """How HU are stored."""

    SIGNED_16 = "signed16"  # intercept -1024, as RICORD
    SIGNED_16_HU = "signed16_hu"  # intercept 0: the stored values are HU
    UNSIGNED_12 = "unsigned12"  # intercept -1024, 12 bits stored
    UNSIGNED_16_HALF = "unsigned16_half"  # slope 0.5, intercept -1024


@dataclass(frozen=True)
class Storage:
    bits: int
    signed: bool
    slope: float
    intercept: int


STORAGE_OF_FORMAT = {
    PixelFormat.SIGNED_16: Storage(16, True, 1, -1024),
    PixelFormat.SIGNED_16_HU: Storage(16, True, 1, 0),
    PixelFormat.UNSIGNED_12: Storage(12, False, 1, -1024),
    PixelFormat.UNSIGNED_16_HALF: Storage(16, False, 0.5, -1024),
}


@dataclass(frozen=True)
class SeriesOptions:
    """How a phantom is written.

    Parameters
    ----------
    transfer_syntax_uid:
        One of :data:`~dicomnode.phantom.encode.TRANSFER_SYNTAXES`.
    patient_position, flip_rows, flip_columns:
        Direction in which rows and columns are stored. Image Position and Orientation (Patient) always tell
        the truth about the anatomy, so left stays left.
    slice_order:
        Order of the instance numbers.
    pixel_format:
        Stored type, rescale slope and intercept.
    patient_name, patient_id, patient_sex, specific_character_set:
        Identity; text must be expressible in the character set.
    study_date, study_time:
        DICOM DA and TM of the whole study.
    study_instance_uid, series_instance_uid, frame_of_reference_uid:
        Empty for UIDs derived from the spec and these options.
    series_number, series_description, accession_number, study_description, manufacturer:
        Free text of the series.

    Raises
    ------
    PhantomError
        If the transfer syntax isn't one of ours or a UID isn't valid.
    """

    transfer_syntax_uid: str = ExplicitVRLittleEndian
    patient_position: PatientPosition | str = PatientPosition.HFS
    flip_rows: bool = False
    flip_columns: bool = False
    slice_order: SliceOrder | str = SliceOrder.ASCENDING
    pixel_format: PixelFormat | str = PixelFormat.SIGNED_16
    patient_name: str = "Phantom^Chest"
    patient_id: str = "PHANTOM"
    patient_sex: str = "O"
    specific_character_set: str = "ISO_IR 192"
    study_date: str = "20240115"
    study_time: str = "093000"
    accession_number: str = ""
    study_description: str = "CT CHEST PHANTOM"
    series_number: int = 2
    series_description: str = "CHEST PHANTOM"
    manufacturer: str = "dicomnode"
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    frame_of_reference_uid: str = ""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "patient_position", PatientPosition(self.patient_position))
            object.__setattr__(self, "slice_order", SliceOrder(self.slice_order))
            object.__setattr__(self, "pixel_format", PixelFormat(self.pixel_format))
        except ValueError as error:
            raise PhantomError(f"SeriesOptions: {error}") from error
        object.__setattr__(self, "transfer_syntax_uid", str(self.transfer_syntax_uid))
        if self.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise PhantomError(f"SeriesOptions: can't write transfer syntax {self.transfer_syntax_uid}")
        for name in ("study_instance_uid", "series_instance_uid", "frame_of_reference_uid"):
            value = getattr(self, name)
            if value and not (len(value) <= 64 and re.fullmatch(RE_VALID_UID, value)):
                raise PhantomError(f"SeriesOptions.{name} is not a valid UID")

    @property
    def storage(self) -> Storage:
        """Stored type and rescale."""
        return STORAGE_OF_FORMAT[PixelFormat(self.pixel_format)]

    @property
    def column_sign(self) -> int:
        """1 when columns run to the patient's left, -1 to the right."""
        prone = self.patient_position in (PatientPosition.HFP, PatientPosition.FFP)
        return -1 if prone != self.flip_columns else 1

    @property
    def row_sign(self) -> int:
        """1 when rows run to the patient's back, -1 to the front."""
        prone = self.patient_position in (PatientPosition.HFP, PatientPosition.FFP)
        return -1 if prone != self.flip_rows else 1
