"""NIfTI masks lie where the CT's voxels are, also for a series that is stored the other way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from dicomnode.assemble.assemble import assemble_series
from dicomnode.phantom import PhantomSpec, build_phantom, write_series
from dicomnode.report.nifti import write_nifti
from dicomnode.segment.anatomy import find_anatomy
from dicomnode.segment.segmentation import Label, ModelIdentity, Segmentation, Side

FIRST_LESION = 1


@pytest.mark.parametrize("stored", [{}, {"flip_rows": True}, {"patient_position": "FFP"}], ids=str)
def test_a_voxel_keeps_its_place_in_the_patient(tmp_path: Path, stored: dict[str, object]) -> None:
    phantom = build_phantom(PhantomSpec(matrix=(20, 32, 32), spacing_mm=(15.0, 11.0, 11.0), noise_hu=0))
    volume = assemble_series(write_series(phantom, tmp_path / "ct", **stored))
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[4, 7, 9] = Label.CONSOLIDATION
    sides = np.where(labels > 0, np.uint8(Side.LEFT), np.uint8(Side.NONE))
    masks = Segmentation(labels, sides, np.zeros_like(labels), ModelIdentity("m", "1", ""))

    anatomy = find_anatomy(masks, volume.affine)

    written = [SimpleITK.ReadImage(path) for path in write_nifti(volume, masks, anatomy, tmp_path)]

    expected = (volume.affine @ np.array([9, 7, 4, 1.0]))[:3]
    for image, value in zip(written, (Label.CONSOLIDATION, Side.LEFT, FIRST_LESION), strict=True):
        z, y, x = (int(axis[0]) for axis in np.nonzero(SimpleITK.GetArrayFromImage(image)))
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((x, y, z)), expected, atol=1e-3)
        assert image.GetPixel(x, y, z) == value


def test_lobes_bring_the_regions(tmp_path: Path) -> None:
    phantom = build_phantom(PhantomSpec(matrix=(20, 32, 32), spacing_mm=(15.0, 11.0, 11.0), noise_hu=0))
    volume = assemble_series(write_series(phantom, tmp_path / "ct"))
    masks = Segmentation(phantom.labels, phantom.sides, phantom.lobes, ModelIdentity("m", "1", ""))
    anatomy = find_anatomy(masks, volume.affine)

    names = {path.name: path for path in write_nifti(volume, masks, anatomy, tmp_path)}

    regions = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(names["regions.nii.gz"]))
    np.testing.assert_array_equal(regions, anatomy.regions)
    np.testing.assert_array_equal(regions > 0, phantom.lobes > 0)
