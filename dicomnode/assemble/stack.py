"""Slices in the order of their positions: the regular grid they lie on, or why they don't."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.assemble.headers import SliceHeader
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.slice_spacing import GRID_TOLERANCE_SHARE, spacing_tolerance_mm

Vector = NDArray[np.float64]

SAME_POSITION_SHARE = 0.1  # closer than a tenth of the usual spacing: two images of one place
SAME_POSITION_MM = 0.05  # and in any case: no CT has slices so close

# Each slice's corner may be this far from the straight line through all, the larger of both.
SIDEWAYS_TOLERANCE_MM = 0.5
SIDEWAYS_TOLERANCE_PIXELS = 0.5

# Rounded positions of a short stack make a few tenths of a degree; a tilted gantry some degrees, up to 30.
# Gantry/Detector Tilt (0018,1120) alone refuses nothing: it stays in series straightened afterwards.
TILT_TOLERANCE_DEGREES = 1.0
# Beyond this, rows no longer run from front to back and methods made for axial slices don't hold.
OBLIQUE_TOLERANCE_DEGREES = 25.0

# Fewer or less can't hold the lungs even of a newborn (some 60 mm high); whether it holds these lungs is seen
# when they are segmented. 10 mm slices of an adult are 25 or more.
FEWEST_SLICES = 8
LEAST_COVERAGE_MM = 50.0

MOST_GAPS_TOLD = 3


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Slices sorted along their normal (row direction x column direction, PS3.3 C.7.6.2.1.1).

    ``positions`` is of shape (slices, 3), LPS mm; ``distances`` of shape (slices,) is each position's
    component along ``normal``, ascending.
    """

    headers: tuple[SliceHeader, ...]
    positions: Vector
    distances: Vector
    row: Vector
    column: Vector
    normal: Vector

    @classmethod
    def of(cls, headers: Sequence[SliceHeader]) -> SliceStack:
        """Order slices of one orientation; slices at the same distance by SOP Instance UID."""
        orientation = np.array(headers[0].orientation, dtype=np.float64).reshape(2, 3)
        row, column = orientation / np.linalg.norm(orientation, axis=1, keepdims=True)
        normal = np.cross(row, column)
        normal /= np.linalg.norm(normal)
        distance = {h.sop_instance_uid: float(np.array(h.position) @ normal) for h in headers}
        ordered = sorted(headers, key=lambda h: (distance[h.sop_instance_uid], h.sop_instance_uid))
        positions = np.array([header.position for header in ordered], dtype=np.float64)
        distances = np.array([distance[header.sop_instance_uid] for header in ordered])
        return cls(tuple(ordered), positions, distances, row, column, normal)

    @property
    def step(self) -> Vector:
        """From one slice's first voxel to the next one's, LPS mm: the mean over the stack."""
        step: Vector = (self.positions[-1] - self.positions[0]) / (len(self.headers) - 1)
        return step

    @property
    def affine(self) -> Vector:
        """Voxel index (x, y, z, 1) to LPS mm, 4 x 4; ``z`` grows along the normal."""
        between_rows, between_columns = self.headers[0].pixel_spacing or (math.nan, math.nan)
        affine = np.eye(4)
        affine[:3, 0] = self.row * between_columns
        affine[:3, 1] = self.column * between_rows
        affine[:3, 2] = self.step
        affine[:3, 3] = self.positions[0]
        return affine

    def z(self, index: int) -> str:
        """The slice's z in the patient as a sentence says it."""
        return f"{self.positions[index][2]:.1f}"


def check_stack(stack: SliceStack) -> None:
    """Refuse a stack that is no regular grid of axial slices.

    Raises
    ------
    SeriesRefusedError
        ``not_axial``, ``duplicate_position``, ``gap``, ``gantry_tilt``, ``mixed_geometry`` or
        ``too_few_slices``.
    """
    refuse_not_axial(stack)
    refuse_duplicate_position(stack)
    refuse_gap(stack)
    refuse_gantry_tilt(stack)
    refuse_sideways(stack)
    refuse_little_coverage(stack)


def refuse_not_axial(stack: SliceStack) -> None:
    """The stack must run along the body; its direction counts, since slices tilted in it are gantry tilt."""
    travel = stack.positions[-1] - stack.positions[0]
    along = travel if np.linalg.norm(travel) > SAME_POSITION_MM else stack.normal
    angle = _degrees_between(along, np.array([0.0, 0.0, 1.0]))
    if angle > OBLIQUE_TOLERANCE_DEGREES:
        detail = f"the slices are stacked at {angle:.0f} degrees to the body's long axis, not axially"
        raise SeriesRefusedError(RefusalReason.NOT_AXIAL, detail)


def refuse_duplicate_position(stack: SliceStack) -> None:
    """Several images of one place: two acquisitions, kernels or phases in one series."""
    gaps = np.diff(stack.distances)
    apart = gaps[gaps > SAME_POSITION_MM]
    usual = float(np.median(apart)) if apart.size else 0.0
    close = np.flatnonzero(gaps <= max(SAME_POSITION_MM, SAME_POSITION_SHARE * usual))
    if close.size == 0:
        return
    first = int(close[0])
    pair = stack.headers[first], stack.headers[first + 1]
    detail = f"{close.size + 1} slices" if apart.size == 0 else f"{close.size} of {len(gaps) + 1} slices"
    detail += f" lie where another one is, first at z = {stack.z(first)} mm"
    differing = [
        name
        for name, attribute in (
            ("acquisition number", "acquisition_number"),
            ("kernel", "kernel"),
            ("slice thickness", "slice_thickness"),
            ("image type", "image_type"),
        )
        if getattr(pair[0], attribute) != getattr(pair[1], attribute)
    ]
    if differing:
        detail += f" (they differ in {', '.join(differing)})"
    raise SeriesRefusedError(RefusalReason.DUPLICATE_POSITION, detail)


def refuse_gap(stack: SliceStack) -> None:
    """Neighbours further apart than usual, or spacings that drift away from a regular grid."""
    gaps = np.diff(stack.distances)
    usual = float(np.median(gaps))
    irregular = np.flatnonzero(np.abs(gaps - usual) > spacing_tolerance_mm(usual))
    if irregular.size:
        raise SeriesRefusedError(RefusalReason.GAP, _tell_gaps(stack, gaps, irregular, usual))
    regular = np.linspace(stack.distances[0], stack.distances[-1], len(stack.distances))
    drift = np.abs(stack.distances - regular)
    if drift.max() > GRID_TOLERANCE_SHARE * usual:
        worst = int(np.argmax(drift))
        detail = (
            f"the spacing changes along the stack: at z = {stack.z(worst)} mm a slice lies "
            f"{drift.max():.1f} mm from its place on a regular grid of {usual:.2f} mm"
        )
        raise SeriesRefusedError(RefusalReason.GAP, detail)


def refuse_gantry_tilt(stack: SliceStack) -> None:
    """Slices shifted against each other, since the table didn't move along their normal."""
    angle = _degrees_between(stack.step, stack.normal)
    if angle > TILT_TOLERANCE_DEGREES:
        detail = f"the slices are tilted by {angle:.1f} degrees against the direction they are stacked in"
        tilt = stack.headers[0].gantry_tilt
        if tilt:
            detail += f" (gantry tilt in the header: {tilt:g})"
        raise SeriesRefusedError(RefusalReason.GANTRY_TILT, detail)


def refuse_sideways(stack: SliceStack) -> None:
    """Slices reconstructed around different centres don't make one grid."""
    on_line = stack.positions[0] + np.arange(len(stack.headers))[:, None] * stack.step
    off = stack.positions - on_line
    off -= np.outer(off @ stack.normal, stack.normal)
    sideways = np.linalg.norm(off, axis=1)
    pixel = max(stack.headers[0].pixel_spacing or (0.0,))
    if sideways.max() > max(SIDEWAYS_TOLERANCE_MM, SIDEWAYS_TOLERANCE_PIXELS * pixel):
        worst = int(np.argmax(sideways))
        detail = f"at z = {stack.z(worst)} mm a slice is shifted sideways by {sideways.max():.1f} mm"
        raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, detail)


def refuse_little_coverage(stack: SliceStack) -> None:
    """A few slices of a chest are no chest."""
    count = len(stack.headers)
    spacing = float(np.linalg.norm(stack.step))
    if count < FEWEST_SLICES or count * spacing < LEAST_COVERAGE_MM:
        detail = (
            f"{count} slices cover {count * spacing:.0f} mm; a chest needs at least {FEWEST_SLICES} slices "
            f"and {LEAST_COVERAGE_MM:.0f} mm"
        )
        raise SeriesRefusedError(RefusalReason.TOO_FEW_SLICES, detail)


def _tell_gaps(stack: SliceStack, gaps: Vector, irregular: NDArray[np.intp], usual: float) -> str:
    missing = [round(float(gaps[i]) / usual) - 1 for i in irregular]
    places = [f"z = {stack.z(int(i))} and {stack.z(int(i) + 1)} mm" for i in irregular[:MOST_GAPS_TOLD]]
    if irregular.size > MOST_GAPS_TOLD:
        places.append(f"at {irregular.size - MOST_GAPS_TOLD} more places")
    where = ", ".join(places)
    total = sum(missing)
    if min(missing) < 1:
        return (
            f"the slices are unevenly spaced between {where}, where the spacing is {usual:.2f} mm elsewhere"
        )
    noun = "slice" if total == 1 else "slices"
    return f"{total} {noun} missing: nothing between {where} where the spacing is {usual:.2f} mm"


def _degrees_between(a: Vector, b: Vector) -> float:
    """The acute angle between two directions; 0 to 90 degrees, exact for small ones."""
    cross = float(np.linalg.norm(np.cross(a, b)))
    return math.degrees(math.atan2(cross, abs(float(a @ b))))
