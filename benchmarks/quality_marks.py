"""What quality flags look at, on every real chest at hand and on disturbed ones.

``python -m benchmarks.quality_marks --data DATA`` prints a row a chest: noise, its grain, blood, metal, the
largest jump of the lungs' outline, and the flags. Lungs of the LUNA16 masks come without CT: they show jumps.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from benchmarks.robust_cases import Scan, read_patient
from dicomnode.measure.motion import outline_jumps_mm
from dicomnode.measure.quality import assess_quality, look_at_image
from dicomnode.phantom import PhantomSpec, build_phantom, disturb
from dicomnode.segment.lungs import find_lungs
from dicomnode.train.volumes import load_volumes

HEADINGS = ("chest", "spacing mm", "noise HU", "grain mm", "blood HU", "metal mL", "jump mm", "flags")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    data = parser.parse_args().data
    print("| " + " | ".join(HEADINGS) + " |\n|" + " --- |" * len(HEADINGS))
    for name, scan in chests(data):
        print(row(name, scan), flush=True)
    print("\nLargest jump of the lungs' outline in mm, LUNA16 masks:")
    print(", ".join(f"{jump:.2f}" for jump in sorted(luna_jumps_mm(data / "luna16_lobe_masks"))))


def chests(data: Path) -> Iterator[tuple[str, Scan]]:
    """Real chests, the patient's disturbed, and phantoms of each kernel."""
    patient = read_patient(data / "ricord_covid_chest")
    spacing, lung = patient.spacing_mm, patient.sides
    assert lung is not None
    yield "ricord_covid_chest", patient
    yield "cip_ct64_chest", read_patient(data / "cip_ct64_chest")
    for case in load_volumes(data / "imlab_chest_ct"):
        yield f"imlab_chest_ct {case.name}", Scan(case.hu, case.spacing_mm)
    for rise in (80.0, 150.0, 250.0):
        hu = disturb.with_contrast(patient.hu, lung > 0, spacing, rise)
        yield f"patient, contrast agent of {rise:g} HU", Scan(hu, spacing, lung)
    yield "patient, metal", Scan(disturb.with_metal(patient.hu, spacing), spacing, lung)
    yield "patient, noise of 100 HU", Scan(disturb.with_noise(patient.hu, spacing, 100), spacing, lung)
    for blur in (0.6, 1.0):
        yield (
            f"patient, blurred by {blur:g} mm",
            Scan(disturb.with_kernel(patient.hu, spacing, blur), spacing, lung),
        )
    for rise, forward in ((5.0, 0.0), (12.0, 4.0)):
        hu = disturb.with_motion(patient.hu, spacing, rise, forward)
        yield f"patient, breath of {rise:g} mm up and {forward:g} mm forward", Scan(hu, spacing)
    for kernel in ("soft", "standard", "sharp"):
        phantom = build_phantom(PhantomSpec.whole_lung((60, 512, 512), kernel=kernel))
        yield f"phantom, {kernel} kernel", Scan(phantom.hu, phantom.spec.spacing_mm, phantom.sides)


def row(name: str, scan: Scan) -> str:
    """A row of the table."""
    sides = find_lungs(scan.hu, scan.spacing_mm).sides if scan.sides is None else scan.sides
    marks = look_at_image(scan.hu, sides, scan.spacing_mm)
    quality = assess_quality(
        slice_thickness_mm=None,
        slice_spacing_mm=scan.spacing_mm[0],
        slices=len(scan.hu),
        kernel=None,
        contrast=None,
        marks=marks,
    )
    numbers = (marks.noise_hu, marks.grain_mm, marks.blood_hu, marks.metal_ml, marks.largest_jump_mm)
    cells = ("-" if number is None else f"{number:.2f}" for number in numbers)
    spacing = " x ".join(f"{step:.2f}" for step in scan.spacing_mm[:2])
    return f"| {name} | {spacing} | {' | '.join(cells)} | {', '.join(quality.flags)} |"


def luna_jumps_mm(folder: Path) -> Iterator[float]:
    """Largest jump of each mask's lungs."""
    for path in sorted(folder.glob("*.nrrd")):
        image = sitk.ReadImage(str(path))
        labels = sitk.GetArrayFromImage(image) & 255
        lungs = ((labels == 1) | ((labels >= 4) & (labels <= 8))).astype(np.uint8)
        jumps = outline_jumps_mm(lungs, image.GetSpacing()[::-1])
        if jumps is not None:
            yield float(jumps.max())


if __name__ == "__main__":
    main()
