"""A real chest, small enough for tests: every fourth slice of 1.25 mm, 2 x 2 pixels made one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.headers import read_header
from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.volume import SourceInstance, Volume
from dicomnode.phantom import disturb
from dicomnode.phantom.disturb import Hu, Spacing


@dataclass(frozen=True, eq=False)
class Chest:
    """HU on the patient's axes (superior, posterior, left) and their spacing."""

    hu: Hu
    spacing_mm: Spacing

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000

    def volume(self) -> Volume:
        """As the assembling room would hand it on."""
        affine = np.diag([*self.spacing_mm[::-1], 1.0])
        instances = tuple(
            SourceInstance(f"1.2.{k}", "1.2.840.10008.5.1.4.1.1.2", Path(f"{k}.dcm"))
            for k in range(len(self.hu))
        )
        return Volume(self.hu, affine, instances, "1.2", "1.3", "1.4")

    def with_hu(self, hu: Hu) -> Chest:
        return replace(self, hu=hu)

    def on_grid(self, shape: tuple[int, int, int], spacing_mm: Spacing) -> Chest:
        return Chest(disturb.resampled(self.hu, self.spacing_mm, shape, spacing_mm), spacing_mm)


def read_chest(folder: Path) -> Chest:
    """The patient of ``ricord_covid_chest``: 62 slices of 256 x 256."""
    paths = sorted(folder.glob("*.dcm"), key=_height)[::4]
    volume = assemble_series(paths)
    order = AxisOrder.from_affine(volume.affine)
    hu = np.ascontiguousarray(order.to_patient(volume.hu))
    z, y, x = order.patient_spacing(volume.spacing_mm)
    return Chest(hu, (z, y, x)).on_grid((len(hu), 256, 256), (z, 2 * y, 2 * x))


def _height(path: Path) -> float:
    position = read_header(path).position
    assert position is not None
    return float(position[2])


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def finite_numbers(value: object) -> Sequence[float]:
    """Every number in a JSON value; fails at one that isn't finite."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return ()
    if isinstance(value, int | float):
        assert np.isfinite(value)
        return (float(value),)
    parts = value.values() if isinstance(value, dict) else value
    assert isinstance(parts, list | tuple | type({}.values()))
    return [number for part in parts for number in finite_numbers(part)]
