"""The chests of ``benchmarks/robustness.py``: a patient's scan and a phantom, each made hard in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.orientation import AxisOrder
from dicomnode.phantom import (
    LesionKind,
    LesionSpec,
    PatientPosition,
    Phantom,
    PhantomSpec,
    PixelFormat,
    SeriesOptions,
    build_phantom,
    disturb,
    write_series,
)
from dicomnode.phantom.disturb import Hu, Spacing
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.segmentation import Lobe, Side

UNDISTURBED = "patient, undisturbed"
SMALL_MM = 0.35
LARGE_MM = 1.4
LESIONS = (
    LesionSpec(LesionKind.GGO, 150.0, Lobe.RIGHT_LOWER),
    LesionSpec(LesionKind.GGO, 60.0, Lobe.LEFT_UPPER),
    LesionSpec(LesionKind.CONSOLIDATION, 40.0, Lobe.LEFT_LOWER),
)


@dataclass(frozen=True, eq=False)
class Scan:
    """A chest in HU (superior, posterior, left) and its spacing in mm.

    ``sides`` are its lungs, if they are known without looking for them again.
    """

    hu: Hu
    spacing_mm: Spacing
    sides: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Truth:
    """What should be found, mL."""

    lung_ml: float
    lesion_ml: float


@dataclass(frozen=True)
class PatientCase:
    """One row: ``make`` disturbs the patient's scan.

    What should be found is what the undisturbed scan gives, times ``factor``, on one ``side`` if only that is
    left; with a factor of 0 nobody can know.
    """

    name: str
    make: Callable[[Scan], Scan]
    factor: float = 1.0
    side: Side = Side.NONE
    position: PatientPosition = PatientPosition.HFS


@dataclass(frozen=True)
class PhantomCase:
    """One row made of a phantom, whose truth is known."""

    name: str
    spec: PhantomSpec
    disturbed: Callable[[Scan], Scan] = lambda scan: scan

    def build(self) -> tuple[Scan, Truth]:
        """The phantom's scan and its truth."""
        phantom = build_phantom(self.spec)
        truth = Truth(float(phantom.truth["lung_volume_ml"]), float(phantom.truth["lesion_volume_ml"]))
        return self.disturbed(Scan(phantom.hu, self.spec.spacing_mm)), truth


def read_patient(folder: Path) -> Scan:
    """The patient's scan on patient axes, with its lungs as the product finds them undisturbed."""
    volume = assemble_series(sorted(folder.glob("*.dcm")))
    order = AxisOrder.from_affine(volume.affine)
    hu, spacing = np.ascontiguousarray(order.to_patient(volume.hu)), order.patient_spacing(volume.spacing_mm)
    return Scan(hu, spacing, find_lungs(hu, spacing).sides)


def write_scan(scan: Scan, folder: Path, number: int, position: PatientPosition) -> list[Path]:
    """The scan as a CT series; ``number`` tells the cases' UIDs apart."""
    z, y, x = scan.hu.shape
    spec = PhantomSpec(seed=number, matrix=(z, y, x), spacing_mm=scan.spacing_mm)
    nothing = np.zeros((1, 1, 1), np.uint8)
    series = Phantom(spec, scan.hu, spec.affine, nothing, nothing, nothing, {})
    options = SeriesOptions(patient_position=position, pixel_format=PixelFormat.SIGNED_16_HU)
    return write_series(series, folder, options)


def geometry_cases() -> Iterator[PatientCase]:
    """The scan on other grids, and called another size than it is."""
    yield PatientCase(UNDISTURBED, lambda scan: scan)
    yield PatientCase("60 slices", _on_grid((60, 512, 512), (5.1667, None, None)))
    yield PatientCase("slices of 10 mm", _on_grid((31, 512, 512), (10.0, None, None)))
    yield PatientCase("slices of 0.5 mm", _on_grid((620, 512, 512), (0.5, None, None)))
    yield PatientCase("1200 slices of 0.5 mm", _on_grid((1200, 512, 512), (0.5, None, None)))
    yield PatientCase("matrix 1024", _on_grid((250, 1024, 1024), (None, 0.3515625, 0.3515625)))


def hardship_cases() -> Iterator[PatientCase]:
    """What a patient, a dose or a wrong header brings along, on the scan at 5 mm and matrix 256."""
    yield PatientCase("matrix 256, slices of 5 mm", lambda scan: scan)
    yield PatientCase("matrix 128, slices of 5 mm", _on_grid((62, 128, 128), (5.0, 2.8125, 2.8125)))
    yield PatientCase("half the size", _scaled(0.5), factor=1 / 8)
    yield PatientCase("one and a half times the size", _scaled(1.5), factor=1.5**3)
    yield PatientCase("twice the size (spacing wrong)", _scaled(2.0), factor=8.0)
    yield PatientCase("3 times the size (spacing wrong)", _scaled(3.0), factor=0)
    yield PatientCase("a third of the size (spacing wrong)", _scaled(0.3), factor=0)
    yield PatientCase("4 times as high (spacing wrong)", _scaled(4.0, 1.0), factor=4.0)
    yield PatientCase("a fifth as high (spacing wrong)", _scaled(0.2, 1.0), factor=0.2)
    for noise in (50, 100, 200):
        yield PatientCase(f"low dose, noise of {noise} HU", _noisy(noise))
    yield PatientCase("contrast, blood of 300 HU", _contrast(250))
    yield PatientCase("contrast, blood of 450 HU", _contrast(400))
    yield PatientCase("right lung absent", _without(Side.RIGHT), side=Side.LEFT)
    yield PatientCase("left lung absent", _without(Side.LEFT), side=Side.RIGHT)
    yield PatientCase("prone", _prone, position=PatientPosition.HFP)
    yield PatientCase("arms down", _arms)
    yield PatientCase("metal of 3071 HU", _metal(3071))
    yield PatientCase("metal of 20000 HU", _metal(20000))
    yield PatientCase("contrast, arms, metal, noise, 5 mm", _everything)


def coarser(scan: Scan) -> Scan:
    """5 mm and 256 x 256, its lungs found again there."""
    half = _on_grid((62, 256, 256), (5.0, 1.40625, 1.40625))(scan)
    return Scan(half.hu, half.spacing_mm, find_lungs(half.hu, half.spacing_mm).sides)


def phantom_cases() -> Iterator[PhantomCase]:
    """Of whole lungs with 250 mL of lesions."""
    for matrix in ((60, 256, 256), (31, 512, 512), (312, 256, 256)):
        name = f"phantom, {matrix[0]} slices, matrix {matrix[1]}"
        yield PhantomCase(name, PhantomSpec.whole_lung(matrix, seed=3, lesions=LESIONS))
    spec = PhantomSpec.whole_lung((125, 320, 320), seed=4, lesions=LESIONS)
    yield PhantomCase("phantom, low dose, noise 150 HU", spec, _noisy(150))
    yield PhantomCase("phantom, metal", spec, _metal(3071))


def _on_grid(
    shape: tuple[int, int, int], spacing_mm: tuple[float | None, float | None, float | None]
) -> Callable[[Scan], Scan]:
    def make(scan: Scan) -> Scan:
        z, y, x = (new or old for new, old in zip(spacing_mm, scan.spacing_mm, strict=True))
        return Scan(disturb.resampled(scan.hu, scan.spacing_mm, shape, (z, y, x)), (z, y, x))

    return make


def _scaled(height: float, width: float | None = None) -> Callable[[Scan], Scan]:
    """The same voxels, called larger or smaller."""

    def make(scan: Scan) -> Scan:
        wide = height if width is None else width
        z, y, x = (round(step * f, 6) for step, f in zip(scan.spacing_mm, (height, wide, wide), strict=True))
        return Scan(scan.hu, (z, y, x))

    return make


def _noisy(noise_hu: float) -> Callable[[Scan], Scan]:
    return lambda scan: Scan(disturb.with_noise(scan.hu, scan.spacing_mm, noise_hu), scan.spacing_mm)


def _metal(metal_hu: int) -> Callable[[Scan], Scan]:
    return lambda scan: Scan(disturb.with_metal(scan.hu, scan.spacing_mm, metal_hu), scan.spacing_mm)


def _contrast(rise_hu: float) -> Callable[[Scan], Scan]:
    def make(scan: Scan) -> Scan:
        assert scan.sides is not None
        return Scan(disturb.with_contrast(scan.hu, scan.sides > 0, scan.spacing_mm, rise_hu), scan.spacing_mm)

    return make


def _without(side: Side) -> Callable[[Scan], Scan]:
    def make(scan: Scan) -> Scan:
        assert scan.sides is not None
        return Scan(disturb.with_filled(scan.hu, scan.sides == side), scan.spacing_mm)

    return make


def _prone(scan: Scan) -> Scan:
    return Scan(disturb.prone(scan.hu, scan.spacing_mm), scan.spacing_mm)


def _arms(scan: Scan) -> Scan:
    """The field of view grows to 500 mm to hold them."""
    wider = _on_grid((len(scan.hu), 256, 256), (None, 1.953, 1.953))(scan)
    return Scan(disturb.with_arms(wider.hu, wider.spacing_mm), wider.spacing_mm)


def _everything(scan: Scan) -> Scan:
    with_arms = _arms(_contrast(250)(scan))
    thick = _on_grid((62, 256, 256), (5.0, None, None))(_metal(3071)(with_arms))
    return _noisy(60)(thick)
