"""Real chest CT as the lung tests want it: HU on patient axes, spacing and an expert's lung mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from dicomnode.assemble.orientation import AxisOrder


@dataclass(frozen=True, eq=False)
class RealCT:
    """Axes (superior, posterior, left), spacing in mm along them; ``lungs`` of an expert or None."""

    hu: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    lungs: NDArray[np.bool_] | None = None

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000.0


def read_dicom(folder: Path) -> RealCT:
    """An axial series with rows to the left and columns to the back, in any file order."""
    slices = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices])
    z = [float(s.ImagePositionPatient[2]) for s in slices]
    row, column = (float(v) for v in slices[0].PixelSpacing)
    return RealCT(hu.clip(-32768, 32767).astype(np.int16), ((z[-1] - z[0]) / (len(z) - 1), row, column))


def read_cip(data_dir: Path) -> RealCT:
    """Chest of 64 x 64 pixels with the lung mask of the Chest Imaging Platform."""
    folder = data_dir / "cip_ct64_chest"
    ct = read_dicom(folder)
    lungs = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "reference" / "wholeLung-64.nrrd"))) > 0
    return RealCT(ct.hu, ct.spacing_mm, lungs)


def read_imlab(data_dir: Path, name: str) -> RealCT:
    """Chest of 128 x 128 pixels with its lung mask, turned from NIfTI to patient axes."""
    arrays = []
    for suffix in ("", "-msk"):
        image = sitk.ReadImage(str(data_dir / "imlab_chest_ct" / f"{name}-128x128x64{suffix}.nii.gz"))
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        order = AxisOrder.from_affine(affine)
        arrays.append(order.to_patient(sitk.GetArrayFromImage(image)))
    z, y, x = order.patient_spacing(image.GetSpacing()[::-1])
    return RealCT(np.round(arrays[0]).astype(np.int16), (z, y, x), arrays[1] > 128)
