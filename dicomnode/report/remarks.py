"""What a reader must know beside the numbers: the SR's Qualitative Evaluations."""

from __future__ import annotations

from typing import Any

from dicomnode.measure.measurements import Measurements
from dicomnode.measure.scores import Comparison, Scores
from dicomnode.report import codes
from dicomnode.report.certainty_text import certainty_sentences, probability_above
from dicomnode.report.content import text
from dicomnode.report.content_item import ContentItem
from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.quality_text import flag_sentence, image_quality
from dicomnode.report.separate_lesions import lesion_sentence

METHODS = (
    "A voxel belongs to one region and one label; its volume is that of the grid cell. Extent is the volume "
    "of the label divided by that of the region. Weight is the sum over lesion voxels of volume times "
    "density, with density in g/mL = (HU + 1000) / 1000, not below 0.",
    "Separate lesions are 26-connected within a lung; all are counted, the largest are listed. The outer "
    "third is the third of a lung's volume nearest to its surface: a lesion spread evenly has 33 % there.",
    "Hellinger distance and overlap compare the histogram of HU in both lungs with that of normal lungs: 0 "
    "and 1 mean alike. The reference is provisional: it comes from two people, and scanner, dose, kernel and "
    "breath shift the histogram too.",
)


def remarks(measurements: Measurements, record: dict[str, Any]) -> list[ContentItem]:
    """Intended use, flags, the largest lesions, how scores are counted, published cut-offs, image and method.

    ``record`` is what ``measurements.json`` says of the measurements.
    """
    quality = measurements.quality
    flags = [f"{flag}: {flag_sentence(flag)}" for flag in quality.flags] or ["none"]
    return [
        text(codes.INTENDED_USE, RESEARCH_USE),
        *(text(codes.QUALITY_FLAG, flag) for flag in flags),
        *(text(codes.SEPARATE_LESION, lesion_sentence(lesion)) for lesion in record["lesions"]),
        *(text(codes.CERTAINTY, sentence) for sentence in certainty_sentences(record)),
        *(text(codes.SCORES, sentence) for sentence in score_sentences(measurements.scores)),
        *(text(codes.PUBLISHED_CUT_OFF, _sentence(found, record)) for found in measurements.literature),
        text(codes.IMAGE_QUALITY, image_quality(quality)),
        *(text(codes.METHOD, method) for method in METHODS),
    ]


def score_sentences(scores: Scores | None) -> list[str]:
    """What to know of the scores, and how they are counted."""
    if scores is None:
        return ["Not given: the lobes were not told apart."]
    said = []
    if scores.ct_score is None:
        said.append("CT score and involved lobes are not given: a lobe is missing.")
    if scores.ct_ss is None:
        said.append("CT-SS is not given: one of the 20 regions is missing.")
    if scores.are_uncertain:
        said.append("Uncertain: the borders of the lobes are; check them before using a score.")
    return [*said, *(f"{rule}." for rule in scores.rules)]


def _sentence(found: Comparison, record: dict[str, Any]) -> str:
    cut_off = found.cut_off
    unit = f" {cut_off.unit}" if cut_off.unit else ""
    where = "above" if found.is_above else "not above"
    measured = f"{NAMES[cut_off.measure]} {record[cut_off.measure]}{unit}"
    likely = probability_above(cut_off.name, record)
    return (
        f"{measured} is {where} {cut_off.value:g}{unit}{likely}; values above went with "
        f"{cut_off.association} in {cut_off.source}"
    )


NAMES = {"lesion_extent_percent": "Lesion extent", "lesion_weight_g": "Lesion weight", "ct_ss": "CT-SS"}
