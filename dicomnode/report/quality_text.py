"""Quality flags in words."""

from __future__ import annotations

from dicomnode.measure.measurements import Quality
from dicomnode.report.text import ascii_text, printed

FLAG_SENTENCES = {
    "thick_slices": "Slices of 5 mm or more: small lesions and the lungs' ends are blurred away.",
    "sparse_coverage": "The slices leave gaps between them: tissue in the gaps was not seen.",
    "noisy_image": "The image is very noisy (low dose): opacities are less sure than in other scans.",
    "lungs_implausible": "No person's lungs have this size or shape: the spacing in the header "
    "may be wrong, and with it every volume.",
    "lungs_uncertain": "The lung masks are uncertain: check them before using the numbers.",
    "lungs_disagree": "Two ways to find the lungs disagree: check the masks at consolidation and effusion.",
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
    if quality.kernel:
        parts.append(f"kernel {ascii_text(quality.kernel, 32)}")
    if quality.contrast is not None:
        parts.append("contrast agent given" if quality.contrast else "no contrast agent")
    return ", ".join(parts)
