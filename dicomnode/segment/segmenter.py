"""The room's door: a :class:`Volume` in, a :class:`Segmentation` out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.volume import Volume
from dicomnode.segment.card import ModelCard, load_installed_card
from dicomnode.segment.lesions import LesionModel, choose_device
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.segmentation import Segmentation
from dicomnode.segment.sides import sides_of

Progress = Callable[[str, float], None]
"""Gets the step (``lungs``, ``lesions``) and the part of it done, 0 to 1."""


class Segmenter:
    """Lungs by thresholds and morphology, lesions by the model; made once, used for many volumes."""

    def __init__(self, lesions: LesionModel) -> None:
        self._lesions = lesions

    @classmethod
    def load(cls, model_name: str, device: str = "auto", models_directory: Path | None = None) -> Segmenter:
        """The segmenter of an installed model.

        Parameters
        ----------
        model_name:
            Name of a folder in the models directory.
        device:
            ``auto`` (CUDA where there is one, else CPU), ``cpu`` or ``cuda``.
        models_directory:
            Where models lie; by default :func:`dicomnode.segment.card.models_directory`.

        Raises
        ------
        ModelError
            If the model isn't installed, is damaged, or the device isn't there.
        """
        return cls(LesionModel(load_installed_card(model_name, models_directory), choose_device(device)))

    @property
    def card(self) -> ModelCard:
        """The card of the lesion model."""
        return self._lesions.card

    @property
    def device(self) -> str:
        """Where the model runs: ``cpu`` or ``cuda``."""
        return self._lesions.device.type

    def peak_memory_bytes(self) -> int | None:
        """Most GPU memory since the last call; ``None`` on the CPU."""
        device = self._lesions.device
        if device.type != "cuda":
            return None
        peak = int(torch.cuda.max_memory_reserved(device))
        torch.cuda.reset_peak_memory_stats(device)
        return peak

    def segment(self, volume: Volume, progress: Progress | None = None) -> Segmentation:
        """Labels and sides on the volume's own grid; the lobe map stays empty, this model tells none apart.

        Raises
        ------
        SeriesRefusedError
            If the volume shows no lung or lungs cut off.
        """
        tell: Progress = progress if progress is not None else _nothing
        order = AxisOrder.from_affine(volume.affine)
        hu = np.ascontiguousarray(order.to_patient(volume.hu))
        spacing_mm = order.patient_spacing(volume.spacing_mm)
        tell("lungs", 0.0)
        lungs = find_lungs(hu, spacing_mm, lambda done: tell("lungs", done))
        tell("lesions", 0.0)
        labels = self._lesions.label(
            hu, lungs.sides > 0, spacing_mm, progress=lambda done: tell("lesions", done)
        )
        sides = lungs.sides
        if self.card.postprocessing.finds_lungs:
            sides = sides_of(labels > 0, sides)
        return Segmentation(
            labels=np.ascontiguousarray(order.from_patient(labels)),
            sides=np.ascontiguousarray(order.from_patient(sides)),
            lobes=np.zeros(volume.hu.shape, dtype=np.uint8),
            model=self.card.identity,
            flags=lungs.flags,
        )


def _nothing(step: str, done: float) -> None:
    """Progress that nobody watches."""
