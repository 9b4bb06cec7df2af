"""The default model's bounds on phantoms of known truth."""

from __future__ import annotations

import pytest

from dicomnode.config import Analysis
from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom
from dicomnode.pipeline import measure_volume
from dicomnode.segment.segmentation import Lobe
from dicomnode.segment.segmenter import Segmenter
from tests.robust.patient import Chest

LESIONS = (
    LesionSpec(LesionKind.GGO, 150.0, Lobe.RIGHT_LOWER),
    LesionSpec(LesionKind.CONSOLIDATION, 60.0, Lobe.LEFT_LOWER),
)


@pytest.mark.parametrize("lesions", [(), LESIONS])
def test_the_truth_lies_within_the_bounds(lesions: tuple[LesionSpec, ...]) -> None:
    phantom = build_phantom(PhantomSpec.whole_lung((100, 192, 192), seed=4, lesions=lesions))
    volume = Chest(phantom.hu, phantom.spec.spacing_mm).volume()
    measured = measure_volume(volume, Segmenter.load(Analysis().model, "cpu").segment(volume))
    bounds = measured.uncertainty.intervals
    for name in ("lesion_volume_ml", "lesion_extent_percent", "lesion_weight_g", "consolidation_volume_ml"):
        assert bounds[name].low <= phantom.truth[name] <= bounds[name].high, name
    assert measured.scores is not None
    for name, reported in (("ct_score", measured.scores.ct_score), ("ct_ss", measured.scores.ct_ss)):
        score = measured.uncertainty.scores[name]
        assert score.low <= score.reported == reported <= score.high
    assert (bounds["lesion_volume_ml"].low > 0) == bool(lesions)
