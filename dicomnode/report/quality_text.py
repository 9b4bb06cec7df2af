"""Quality flags in words."""

from __future__ import annotations

from dicomnode.measure.measurements import Quality
from dicomnode.report.text import ascii_text, printed

FLAG_SENTENCES = {
    "thick_slices": "Slices of 5 mm or more blur small lesions away and large ones out: "
    "a patient's lesions grew by 5 % at 5 mm, by 24 % at 10 mm.",
    "sparse_coverage": "The slices leave gaps between them: tissue in the gaps was not seen.",
    "coarse_pixels": "Pixels of 2.5 mm or more: blurred vessels count as ground glass, scores are too high.",
    "noisy_image": "The image is very noisy (low dose): opacities are less sure than in other scans.",
    "sharp_kernel": "Sharp kernel: its noise and edges may be taken for opacities.",
    "soft_kernel": "Soft kernel: vessels and the borders of lesions are blurred.",
    "contrast_agent": "Contrast agent in the blood: vessels and lesions are denser than without.",
    "metal": "Metal in the chest: its streaks may be taken for opacities, or hide them.",
    "motion": "Breath or motion during the scan: parts of the lungs are seen twice or not at all.",
    "lungs_implausible": "No person's lungs have this size or shape: the spacing in the header "
    "may be wrong, and with it every volume.",
    "lungs_uncertain": "The lung masks are uncertain: check them before using the numbers.",
    "lungs_disagree": "Two ways to find the lungs disagree: check the masks at consolidation and effusion.",
    "lung_edge_cut": "The first or last slice cuts a lung: a little of its apex or base is missing.",
    "sides_touch": "Right and left lung touch: the border between the sides is an estimate.",
    "one_lung": "Only one lung was found.",
    "lobes_uncertain": "The borders of the lobes are uncertain: check them before using numbers by lobe.",
}


def flag_sentence(flag: str) -> str:
    """What ``flag`` means for the reader; a flag without a sentence is its own words."""
    return FLAG_SENTENCES.get(flag, ascii_text(flag.replace("_", " ")).capitalize() + ".")


def image_quality(quality: Quality) -> str:
    """Slices, kernel and contrast in one line."""
    parts = []
    if quality.slice_thickness_mm is not None:
        parts.append(f"slice thickness {printed('_mm', quality.slice_thickness_mm):g} mm")
    parts.append(f"slice spacing {printed('_mm', quality.slice_spacing_mm):g} mm")
    parts.append(f"coverage {quality.coverage_mm:.0f} mm")
    if quality.kernel or quality.kernel_type:
        parts.append(_kernel(quality))
    if quality.contrast is not None:
        parts.append("contrast agent given" if quality.contrast else "no contrast agent")
        if quality.contrast_told_by == "image":
            parts[-1] += " (by the image)"
    return ", ".join(parts)


def _kernel(quality: Quality) -> str:
    """The header's word, and what kind of kernel that is or the image's noise tells."""
    name = ascii_text(quality.kernel, 32) if quality.kernel else "not named"
    if quality.kernel_type is None:
        return f"kernel {name}"
    by_image = " by the noise" if quality.kernel_told_by == "image" else ""
    return f"kernel {name} ({quality.kernel_type}{by_image})"
