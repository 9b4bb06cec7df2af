"""However slices are stored, masks and numbers are the patient's: left stays left, base stays base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicomnode.assemble.assemble import assemble_series
from dicomnode.demo.read_back import reported_values, segment_masks
from dicomnode.phantom import LesionKind, LesionSpec, Phantom, PhantomSpec, build_phantom, write_series
from dicomnode.pipeline import analyze_series
from dicomnode.segment.segmentation import Label, Lobe, Side
from dicomnode.segment.segmenter import Segmenter

RIGHT, LEFT, LESION = ("39607008", "24028007"), ("39607008", "7771000"), ("52988006", "")
STORED = {
    "head first supine": {"patient_position": "HFS"},
    "feet first, numbers descending": {"patient_position": "FFS", "slice_order": "descending"},
    "prone, numbers shuffled": {"patient_position": "HFP", "slice_order": "shuffled"},
    "feet first prone": {"patient_position": "FFP"},
    "rows upside down": {"flip_rows": True},
    "columns mirrored": {"flip_columns": True, "slice_order": "descending"},
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """One big lesion in the right lower lobe: a mirror image would put it on the left or at the top."""
    lesions = (LesionSpec(LesionKind.CONSOLIDATION, 120.0, Lobe.RIGHT_LOWER),)
    return build_phantom(PhantomSpec.whole_lung((62, 128, 128), seed=7, lesions=lesions))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """The model the node uses by default."""
    return Segmenter.load("medip_unet2d", "cpu")


@pytest.mark.parametrize("stored", STORED)
def test_masks_lie_where_the_anatomy_is(
    phantom: Phantom, segmenter: Segmenter, tmp_path: Path, stored: str
) -> None:
    files = write_series(phantom, tmp_path / "ct", **STORED[stored])
    analysis = analyze_series(files, segmenter, tmp_path / "out", config_sha256="0" * 64)
    assert analysis.refusal is None, analysis.refusal
    volume = assemble_series(files)
    masks = segment_masks(dcmread(tmp_path / "out" / "seg.dcm"), volume)

    for kind, truth in (
        (RIGHT, phantom.sides == Side.RIGHT),
        (LEFT, phantom.sides == Side.LEFT),
        (LESION, phantom.labels == Label.CONSOLIDATION),
    ):
        found, true = centroid_mm(masks[kind], volume.affine), centroid_mm(truth, phantom.affine)
        assert np.abs(found - true).max() < (25 if kind == LESION else 4), (kind, found, true)
    values = {v.contract_path: v.value for v in reported_values(dcmread(tmp_path / "out" / "sr.dcm"))}
    assert values["sides", "right", "lesion_volume_ml"] > 50
    assert values["sides", "left", "lesion_volume_ml"] < 20


def test_numbers_do_not_depend_on_how_the_slices_are_stored(
    phantom: Phantom, segmenter: Segmenter, tmp_path: Path
) -> None:
    measured = []
    for name in ("head first supine", "prone, numbers shuffled"):
        files = write_series(phantom, tmp_path / name, **STORED[name])
        analyze_series(files, segmenter, tmp_path / f"{name} out", config_sha256="0" * 64)
        report = dcmread(tmp_path / f"{name} out" / "sr.dcm")
        measured.append({v.contract_path: v.value for v in reported_values(report)})
    assert measured[0] == measured[1]


def centroid_mm(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Centre of a (z, y, x) mask in patient mm."""
    z, y, x = (axis.mean() for axis in np.nonzero(mask))
    return (affine @ np.array([x, y, z, 1.0]))[:3]
