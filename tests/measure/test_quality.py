"""Each quality flag: raised from its threshold on, by the disturbance it is named after, not without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from dicomnode.measure.chest_marks import blood_hu, metal_ml
from dicomnode.measure.kernel import kernel_type
from dicomnode.measure.measurements import Quality
from dicomnode.measure.motion import outline_jumps_mm
from dicomnode.measure.noise import grain_mm, noise_hu
from dicomnode.measure.quality import (
    COARSE_PIXEL_MM,
    ENHANCED_HU,
    JUMP_MM,
    METAL_ML,
    NOISY_HU,
    ImageMarks,
    assess_quality,
    look_at_image,
)
from dicomnode.phantom import PhantomSpec, build_phantom, disturb
from dicomnode.phantom.build import Phantom
from dicomnode.report.quality_text import FLAG_SENTENCES, flag_sentence, image_quality
from dicomnode.segment.segmentation import QualityFlag


def assess(
    marks: ImageMarks | None = None,
    *,
    thickness: float | None = 1.0,
    spacing: float = 1.0,
    kernel: str | None = None,
    contrast: bool | None = None,
) -> Quality:
    return assess_quality(
        slice_thickness_mm=thickness,
        slice_spacing_mm=spacing,
        slices=9,
        kernel=kernel,
        contrast=contrast,
        marks=marks,
    )


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """Whole lungs of 2.6 mm slices and pixels of 2.25 mm."""
    return build_phantom(PhantomSpec.whole_lung((120, 160, 160), seed=2))


def marks_of(phantom: Phantom, hu: NDArray[np.int16] | None = None) -> ImageMarks:
    return look_at_image(phantom.hu if hu is None else hu, phantom.sides, phantom.spec.spacing_mm)


def test_every_flag_has_a_sentence_of_its_own() -> None:
    raised = {
        *assess(
            ImageMarks(9, 99, 0.1, 300, 5, 5, True), thickness=1.0, spacing=9.0, kernel="BONE", contrast=True
        ).flags,
        *assess(kernel="SOFT").flags,
        *(flag.value for flag in QualityFlag),
    }
    assert raised == FLAG_SENTENCES.keys()
    assert all(flag_sentence(flag).endswith(".") for flag in raised)


def test_a_good_scan_has_no_flags() -> None:
    assert assess().flags == ()
    assert assess(ImageMarks(0.7, 15.0, 0.43, 49.0, 0.0, 0.4), kernel="STANDARD", contrast=False).flags == ()


@pytest.mark.parametrize(
    ("name", "below", "above"),
    [
        ("coarse_pixels", ImageMarks(pixel_mm=COARSE_PIXEL_MM - 0.01), ImageMarks(pixel_mm=COARSE_PIXEL_MM)),
        ("noisy_image", ImageMarks(noise_hu=NOISY_HU), ImageMarks(noise_hu=NOISY_HU + 0.1)),
        ("contrast_agent", ImageMarks(blood_hu=ENHANCED_HU), ImageMarks(blood_hu=ENHANCED_HU + 0.1)),
        ("metal", ImageMarks(metal_ml=METAL_ML - 0.01), ImageMarks(metal_ml=METAL_ML)),
        ("motion", ImageMarks(largest_jump_mm=JUMP_MM - 0.01), ImageMarks(largest_jump_mm=JUMP_MM)),
    ],
)
def test_flags_are_raised_from_their_threshold_on(name: str, below: ImageMarks, above: ImageMarks) -> None:
    assert assess(below).flags == ()
    assert assess(above).flags == (name,)


def test_thick_slices_and_gaps_are_flagged() -> None:
    assert assess(thickness=4.9, spacing=4.9).flags == ()
    assert assess(thickness=5.0, spacing=5.0).flags == assess(thickness=None, spacing=5.0).flags
    assert assess(thickness=5.0, spacing=5.0).flags == ("thick_slices",)
    assert assess(thickness=1.0, spacing=1.5).flags == ()
    assert assess(thickness=1.0, spacing=1.6).flags == ("sparse_coverage",)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SOFT", "soft"),
        ("STANDARD", "standard"),
        ("LUNG", "sharp"),
        ("BONEPLUS", "sharp"),
        ("B20f", "soft"),
        ("B30f", "standard"),
        ("Br40d\\3", "standard"),
        ("B49f", "standard"),
        ("B50f", "sharp"),
        ("I70f\\2", "sharp"),
        ("Bl57", "sharp"),
        ("Qr40", "standard"),
        ("FC13", "standard"),
        ("FC51", "sharp"),
        ("L", "sharp"),
        ("B", "standard"),
    ],
)
def test_kernels_are_known_by_name_whatever_the_noise(name: str, kind: str) -> None:
    for grain in (None, 0.1, 2.0):
        found = kernel_type(name, grain)
        assert found is not None and (found.kind, found.told_by) == (kind, "header")


def test_a_kernel_without_a_known_name_is_told_by_its_noise() -> None:
    for name in (None, "XYZ", "BUTTER"):
        kinds = [kernel_type(name, grain) for grain in (0.2, 0.43, 0.8)]
        assert [k.kind for k in kinds if k] == ["sharp", "standard", "soft"]
        assert {k.told_by for k in kinds if k} == {"image"}
        assert kernel_type(name, None) is None
    sharp = assess(ImageMarks(grain_mm=0.2), kernel="XYZ")
    assert sharp.flags == ("sharp_kernel",)
    assert "kernel XYZ (sharp by the noise)" in image_quality(sharp)


@pytest.mark.parametrize("kind", ["soft", "standard", "sharp"])
def test_the_noise_of_a_phantom_tells_its_kernel(kind: str) -> None:
    spec = PhantomSpec(matrix=(8, 360, 440), spacing_mm=(20.0, 0.9, 0.9), kernel=kind)
    phantom = build_phantom(spec)
    found = kernel_type(None, grain_mm(phantom.hu, spec.spacing_mm))
    assert found is not None and (found.kind, found.told_by) == (kind, "image")


def test_coarse_pixels_and_an_image_without_noise_show_no_grain(phantom: Phantom) -> None:
    assert grain_mm(phantom.hu, phantom.spec.spacing_mm) is None
    assert grain_mm(np.full((6, 200, 200), 40, np.int16), (1.0, 0.7, 0.7)) is None


def test_white_noise_has_no_grain_and_blurred_noise_its_blur() -> None:
    white = np.random.default_rng(0).normal(40, 30, (6, 256, 256))
    assert grain_mm(white.astype(np.int16), (1.0, 0.7, 0.7)) == pytest.approx(0.0, abs=0.2)
    loud = np.rint(8 * white - 280).astype(np.int16)
    grains = [
        grain_mm(disturb.with_kernel(loud, (1.0, 0.7, 0.7), blur), (1.0, 0.7, 0.7)) for blur in (0.4, 0.6)
    ]
    assert grains == pytest.approx([0.4, 0.6], rel=0.25), "blocks of 8 mm hide the coarsest part"


@pytest.mark.parametrize("sd", [10.0, 90.0])
def test_noise_is_read_from_soft_tissue_whatever_lies_in_it(sd: float) -> None:
    hu = np.full((6, 200, 200), -1000, np.float64)
    hu[:, 20:180, 20:180] = 40
    hu[:, 60:140, 40:160] = -850  # lungs
    hu[:, 30:40, 30:170] = 700  # bone
    noisy = (hu + np.random.default_rng(0).normal(0, sd, hu.shape)).astype(np.int16)
    found = noise_hu(noisy, (1.0, 1.0, 1.0))
    assert found == pytest.approx(sd, rel=0.15)
    assert noise_hu(np.full((6, 64, 64), -1000, np.int16), (1.0, 1.0, 1.0)) is None


def test_a_phantom_shows_no_marks_and_each_disturbance_its_own(phantom: Phantom) -> None:
    spacing = phantom.spec.spacing_mm
    assert assess(marks_of(phantom)).flags == ()
    enhanced = disturb.with_contrast(phantom.hu, phantom.sides > 0, spacing, 80)
    assert assess(marks_of(phantom, enhanced)).flags == ("contrast_agent",)
    metal = disturb.with_metal(phantom.hu, spacing)
    assert assess(marks_of(phantom, metal)).flags == ("metal",)
    noisy = disturb.with_noise(phantom.hu, spacing, 120)
    assert "noisy_image" in assess(marks_of(phantom, noisy)).flags


def test_a_phantom_on_coarser_grids_is_flagged(phantom: Phantom) -> None:
    z, y, x = phantom.spec.spacing_mm
    for shape, new, flags in (
        ((31, 160, 160), (10.0, y, x), ("thick_slices",)),
        ((120, 120, 120), (z, 3.0, 3.0), ("coarse_pixels",)),
    ):
        hu = disturb.resampled(phantom.hu, (z, y, x), shape, new)
        sides = disturb.resampled((phantom.sides > 0).astype(np.int16) * 1000 - 1024, (z, y, x), shape, new)
        marks = look_at_image(hu, (sides > -524).astype(np.uint8), new)
        assert assess(marks, thickness=new[0], spacing=new[0]).flags == flags
    every_third = phantom.hu[::3], phantom.sides[::3]
    marks = look_at_image(*every_third, (3 * z, y, x))
    assert assess(marks, thickness=z, spacing=3 * z).flags == ("thick_slices", "sparse_coverage")


def test_who_says_that_there_is_contrast_agent() -> None:
    bright, plain = ImageMarks(blood_hu=200.0), ImageMarks(blood_hu=45.0)
    said = {
        (header, name): (found.contrast, found.contrast_told_by)
        for header in (None, True, False)
        for name, marks in (("bright", bright), ("plain", plain), ("unseen", ImageMarks()))
        for found in [assess(marks, contrast=header)]
    }
    assert said[None, "bright"] == said[False, "bright"] == (True, "image")
    assert said[None, "plain"] == (False, "image")
    assert said[None, "unseen"] == (None, None)
    assert said[False, "plain"] == said[False, "unseen"] == (False, "header")
    assert {said[True, name] for name in ("bright", "plain", "unseen")} == {(True, "header")}


def test_metal_on_the_skin_is_no_metal_in_the_chest(phantom: Phantom) -> None:
    hu, spacing = phantom.hu.copy(), phantom.spec.spacing_mm
    body = disturb.body_of(hu)
    k, x = hu.shape[0] // 2, hu.shape[2] // 2
    skin = int(np.flatnonzero(body[k - 3 : k + 3, :, x - 3 : x + 3].any(axis=(0, 2)))[0])
    hu[k - 3 : k + 3, skin - 2 : skin, x - 3 : x + 3] = 3071
    assert metal_ml(hu, phantom.sides, spacing) < METAL_ML
    hu[k - 3 : k + 3, skin + 8 : skin + 10, x - 3 : x + 3] = 3071
    assert metal_ml(hu, phantom.sides, spacing) > METAL_ML


def test_too_little_tissue_between_the_lungs_tells_no_contrast(phantom: Phantom) -> None:
    nothing = np.zeros_like(phantom.sides)
    assert blood_hu(phantom.hu, nothing, phantom.spec.spacing_mm) is None
    assert metal_ml(phantom.hu, nothing, phantom.spec.spacing_mm) == 0
    assert outline_jumps_mm(nothing, phantom.spec.spacing_mm) is None


def test_a_breath_during_the_scan_is_seen(phantom: Phantom) -> None:
    spacing = phantom.spec.spacing_mm
    for rise, forward in ((12.0, 4.0), (8.0, 0.0)):
        moved = disturb.with_motion(phantom.hu, spacing, rise, forward)
        lungs = disturb.with_motion(phantom.sides.astype(np.int16), spacing, rise, forward)
        sides = np.clip(lungs, 0, 2).astype(np.uint8)
        assert not np.array_equal(moved, phantom.hu)
        assert "motion" in assess(look_at_image(moved, sides, spacing)).flags
    assert outline_jumps_mm(phantom.sides, (5.0, 2.0, 2.0)) is None, "thick slices can't tell"


@pytest.mark.parametrize("number", range(5))
def test_the_lungs_of_real_people_who_held_their_breath_do_not_jump(data_dir: Path, number: int) -> None:
    path = sorted((data_dir / "luna16_lobe_masks").glob("*.nrrd"))[6 * number]
    image = sitk.ReadImage(str(path))
    labels = sitk.GetArrayFromImage(image) & 255
    lungs = ((labels == 1) | ((labels >= 4) & (labels <= 8))).astype(np.uint8)
    jumps = outline_jumps_mm(lungs, image.GetSpacing()[::-1])
    assert jumps is not None and jumps.max() < JUMP_MM
