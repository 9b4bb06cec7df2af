"""The room's door: a :class:`Volume` in, a :class:`Segmentation` out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.volume import Volume
from dicomnode.segment.card import ModelCard, load_installed_card
from dicomnode.segment.confidence import Confidence, doubt_in_place
from dicomnode.segment.lesion_rules import SMOOTHING_MM, SMOOTHING_REACH
from dicomnode.segment.lesions import Found, LesionModel, as_byte, choose_device
from dicomnode.segment.lobe_card import LobeCard, installed_lobe_card
from dicomnode.segment.lobes import LobeModel
from dicomnode.segment.lung_card import LUNGS, LungCard, installed_lung_card
from dicomnode.segment.lung_network import LungNetwork
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.runtimes.runtime import TORCH
from dicomnode.segment.segmentation import QualityFlag, Segmentation
from dicomnode.segment.sides import sides_of
from dicomnode.segment.stages import LungSlices, Spacing, StageMemory, aligned, rounded

CLASSICAL = "classical"
"""Lungs by thresholds and morphology alone."""

Progress = Callable[[str, float], None]
"""Gets the step (``lungs``, ``lesions``, ``lobes``) and the part of it done, 0 to 1."""


class Segmenter:
    """Lungs, lesions and lobes of a volume; made once, used for many volumes.

    Lungs are found by thresholds and morphology, their airless parts by a network where there is one. Lungs
    and lobes are found on the CPU, wherever lesions are: coarse grids take a second there. Without a lobe
    model the lobe map stays empty. ``memory`` keeps what steps gave, if it has room; by default it has none.
    """

    def __init__(
        self, lesions: LesionModel, lobes: LobeModel | None = None, lungs: LungNetwork | None = None
    ) -> None:
        self.memory = StageMemory()
        self._lesions = lesions
        self._lobes = lobes
        self._lungs = lungs

    @classmethod
    def load(
        cls,
        model_name: str,
        device: str = "auto",
        models_directory: Path | None = None,
        lungs: str = CLASSICAL,
        runtime: str = TORCH,
    ) -> Segmenter:
        """The segmenter of an installed model.

        Parameters
        ----------
        model_name:
            Name of a folder in the models directory.
        device:
            ``auto`` (CUDA where there is one, else CPU), ``cpu`` or ``cuda``.
        models_directory:
            Where models lie; by default :func:`dicomnode.segment.card.models_directory`.
        lungs:
            ``classical`` (thresholds and morphology alone) or ``lungs`` (with the model of that name, where
            it is installed).
        runtime:
            Of networks; see :func:`~dicomnode.segment.runtimes.choose.choose_runtime`.

        Raises
        ------
        ModelError
            If the model isn't installed, is damaged, or the device isn't there.
        """
        lesions = LesionModel(load_installed_card(model_name, models_directory), choose_device(device))
        lobes = installed_lobe_card(models_directory)
        lung_card = installed_lung_card(models_directory) if lungs == LUNGS else None
        segmenter = cls(
            lesions, LobeModel(lobes) if lobes else None, LungNetwork(lung_card) if lung_card else None
        )
        for model in (segmenter._lesions, segmenter._lobes, segmenter._lungs):
            if model is not None:
                model.choose_runtime(runtime)
        return segmenter

    @property
    def card(self) -> ModelCard:
        """The card of the lesion model."""
        return self._lesions.card

    @property
    def lobe_card(self) -> LobeCard | None:
        """The card of the lobe model, if there is one."""
        return self._lobes.card if self._lobes else None

    @property
    def lung_card(self) -> LungCard | None:
        """The card of the lung model, if one is used."""
        return self._lungs.card if self._lungs else None

    @property
    def runtimes(self) -> dict[str, str]:
        """Of each network that is used, the runtime and its precision; changed by a runtime that failed."""
        models = {"lesions": self._lesions, "lobes": self._lobes, "lungs": self._lungs}
        return {name: str(model.choice) for name, model in models.items() if model is not None}

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
        """Labels, sides and lobes on the volume's own grid.

        Raises
        ------
        SeriesRefusedError
            If the volume shows no lung or lungs cut off.
        """
        tell: Progress = progress if progress is not None else _nothing
        order = AxisOrder.from_affine(volume.affine)
        hu = np.ascontiguousarray(order.to_patient(volume.hu))
        spacing_mm = rounded(order.patient_spacing(volume.spacing_mm))
        tell("lungs", 0.0)
        padded, repeated = aligned(hu, spacing_mm, _feet_mm(volume, order))
        lungs = find_lungs(padded, spacing_mm, lambda done: tell("lungs", done), self._lungs)
        del padded
        sides = lungs.sides[repeated:]
        found = self._find_lesions(hu, sides, spacing_mm, tell)
        labels = found.labels
        if self.card.postprocessing.finds_lungs:
            sides = sides_of(labels > 0, sides)
        lobes, flags = self._find_lobes(sides, spacing_mm, tell)
        return Segmentation(
            labels=np.ascontiguousarray(order.from_patient(labels)),
            sides=np.ascontiguousarray(order.from_patient(sides)),
            lobes=np.ascontiguousarray(order.from_patient(lobes)),
            model=self.card.identity,
            flags=(*lungs.flags, *flags),
            confidence=self._confidence(found, order),
        )

    def _confidence(self, found: Found, order: AxisOrder) -> Confidence | None:
        error = self.card.error
        if error is None:
            return None
        low, high = (as_byte(probability) for probability in (error.low_probability, error.high_probability))
        doubt_in_place(found.levels, found.labels, low, high)
        return Confidence(error, np.ascontiguousarray(order.from_patient(found.levels)))

    def _find_lesions(
        self, hu: NDArray[np.int16], sides: NDArray[np.uint8], spacing_mm: Spacing, tell: Progress
    ) -> Found:
        """Lesions in the slices with lung, which alone count unless the card wants the body's box."""
        tell("lesions", 0.0)
        preprocessing = self.card.preprocessing
        smoothed = math.ceil(SMOOTHING_REACH * SMOOTHING_MM / spacing_mm[0])
        reach = max(preprocessing.context_slices, smoothed) + 1
        slices = LungSlices.of(sides, reach if preprocessing.crop == "lungs" else len(hu))
        part, lung = slices.of_volume(hu), slices.of_volume(sides) > 0
        found = self.memory.recall(
            "lesions",
            (part, lung, spacing_mm, self._lesions.choice),
            lambda: self._lesions.search(part, lung, spacing_mm, progress=lambda done: tell("lesions", done)),
        )
        return Found(slices.in_volume(found.labels), slices.in_volume(found.levels))

    def _find_lobes(
        self, sides: NDArray[np.uint8], spacing_mm: Spacing, tell: Progress
    ) -> tuple[NDArray[np.uint8], tuple[QualityFlag, ...]]:
        if self._lobes is None:
            return np.zeros_like(sides), ()
        tell("lobes", 0.0)
        model, slices = self._lobes, LungSlices.of(sides, 0)
        part = slices.of_volume(sides)
        found = self.memory.recall("lobes", (part, spacing_mm), lambda: model.find(part, spacing_mm))
        tell("lobes", 1.0)
        flags = (QualityFlag.LOBES_UNCERTAIN,) if found.uncertain else ()
        return slices.in_volume(found.lobes), flags


def _feet_mm(volume: Volume, order: AxisOrder) -> float:
    """Height of the lowest slice in the frame of reference."""
    axis = order.axes[0]
    first = float(volume.affine[2, 3])
    return min(first, first + float(volume.affine[2, 2 - axis]) * (volume.hu.shape[axis] - 1))


def _nothing(step: str, done: float) -> None:
    """Progress that nobody watches."""
