"""Why a series cannot be measured: the refusal contract."""

from __future__ import annotations

from enum import StrEnum

from dicomnode.assemble.errors import AssembleError


class RefusalReason(StrEnum):
    """Reason codes; they appear in the ledger, the log, the refusal SR and ``dicomnode status``."""

    NOT_CT = "not_ct"
    LOCALIZER = "localizer"
    TOO_FEW_SLICES = "too_few_slices"
    GAP = "gap"
    GANTRY_TILT = "gantry_tilt"
    MIXED_GEOMETRY = "mixed_geometry"
    DUPLICATE_POSITION = "duplicate_position"
    NOT_AXIAL = "not_axial"
    NO_LUNG = "no_lung"
    TRUNCATED_LUNG = "truncated_lung"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"
    NO_PIXEL_DATA = "no_pixel_data"
    BAD_RESCALE = "bad_rescale"
    FOREIGN_SEGMENTATION = "foreign_segmentation"
    UNCHANGED_SEGMENTATION = "unchanged_segmentation"
    NO_SOURCE_IMAGES = "no_source_images"
    OTHER_GRID = "other_grid"


class SeriesRefusedError(AssembleError):
    """The series can't be measured properly; carries the reason code and one sentence for a person.

    The sentence names numbers (positions in mm, counts, angles), never a patient.
    """

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
