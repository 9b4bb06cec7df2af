"""Lesions inside the lungs by a learned model, ground-glass opacity and consolidation told apart by HU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy import ndimage
from torch import Tensor, nn

from dicomnode.segment.card import ModelCard, ModelError
from dicomnode.segment.networks.factory import build_network
from dicomnode.segment.preprocess import (
    UNKNOWN_LUNG,
    Crop,
    clip_to_tissue,
    lung_crop,
    network_input,
    resample,
    resampled_shape,
)
from dicomnode.segment.segmentation import Label

BATCH_SLICES = 8

SMOOTHING_MM = 1.5
"""Standard deviation of the Gaussian that takes noise and thin vessels out of the HU before the split."""

SMOOTHING_REACH = 3.0
"""Standard deviations after which the Gaussian is cut off."""

MINIMUM_CONSOLIDATION_ML = 0.1
"""Dense spots below this inside a lesion are cut vessels, not consolidation; a cube of 4.6 mm."""

AnyConnection = ndimage.generate_binary_structure(3, 3)


STEPS = 200
"""Steps of a stored probability: a byte a voxel in steps of one half percent."""


@dataclass(frozen=True, eq=False)
class Probabilities:
    """What a network says of each voxel, as bytes (see :func:`as_byte`); 0 outside the lung.

    ``consolidation`` is the probability that a lesion, if it is one, is consolidation.
    """

    lesion: NDArray[np.uint8]
    consolidation: NDArray[np.uint8] | None


def as_byte(probability: float) -> int:
    """A probability as :class:`Probabilities` stores it."""
    return round(probability * STEPS)


class LesionModel:
    """A trained network with its card, ready on a device.

    Parameters
    ----------
    card:
        Card as :func:`~dicomnode.segment.card.load_card` gives it: its checksum is verified.
    device:
        ``cpu``, ``cuda`` or a torch device.

    Raises
    ------
    ModelError
        If the weights don't fit the network the card names.
    """

    def __init__(self, card: ModelCard, device: str | torch.device = "cpu") -> None:
        self.card = card
        self.device = torch.device(device)
        network = build_network(card.network)
        try:
            network.load_state_dict(load_file(card.weights_path))
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"model {card.name}: the weights don't fit the network: {error}") from error
        self._network = network.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._low_precision = _has_bfloat16(self.device)

    def find(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.bool_],
        spacing_mm: tuple[float, float, float],
        *,
        batch_size: int = BATCH_SLICES,
    ) -> NDArray[np.bool_]:
        """Lesion mask: where the probability reaches the card's threshold; see :meth:`probabilities`."""
        found = self.probabilities(hu, lung, spacing_mm, batch_size=batch_size)
        threshold = as_byte(self.card.postprocessing.probability_threshold)
        return np.asarray(lung & (found.lesion >= threshold))

    def probabilities(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.bool_],
        spacing_mm: tuple[float, float, float],
        *,
        lung_known: bool = True,
        batch_size: int = BATCH_SLICES,
        progress: Callable[[float], None] | None = None,
    ) -> Probabilities:
        """Probabilities of lesion inside the lung, and of consolidation where the network tells it.

        Parameters
        ----------
        hu, lung:
            Shape (slices, rows, columns) with axes superior, posterior, left of the patient.
        spacing_mm:
            Spacing of those axes.
        lung_known:
            Whether ``lung`` may be relied on; see :meth:`searched`.
        batch_size:
            Slices computed at once; it changes memory and speed, not the result.
        progress:
            Gets the part done, 0 to 1, after each batch.
        """
        searched = self.searched(lung, lung_known)
        split = self.card.postprocessing.consolidation_probability > 0
        found = np.zeros((2 if split else 1, *hu.shape), dtype=np.uint8)
        with_lung = np.flatnonzero(searched.any(axis=(1, 2)))
        if with_lung.size:
            crop = lung_crop(searched, spacing_mm[1:], self.card.preprocessing.crop_margin_mm)
            for start in range(0, len(with_lung), batch_size):
                chosen = with_lung[start : start + batch_size]
                box = (chosen, *crop.slices)
                level = UNKNOWN_LUNG if searched is not lung else 1.0
                found_bytes = self._bytes_in_crop(
                    hu[box], searched[box] * np.float32(level), crop, spacing_mm
                )
                for channel, plane in enumerate(found):
                    plane[box] = found_bytes[:, channel] * searched[box]
                if progress is not None:
                    progress(min(start + batch_size, len(with_lung)) / len(with_lung))
        return Probabilities(found[0], found[1] if split else None)

    def searched(self, lung: NDArray[np.bool_], lung_known: bool) -> NDArray[np.bool_]:
        """Where lesions may be: the lung, or everywhere if it isn't known and the network can do without."""
        if lung_known or not self.card.preprocessing.lung_channel:
            return lung
        return np.ones_like(lung)

    def label(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.bool_],
        spacing_mm: tuple[float, float, float],
        *,
        lung_known: bool = True,
        batch_size: int = BATCH_SLICES,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.uint8]:
        """Label map (values of ``Label``) of a volume; parameters as in :meth:`probabilities`.

        Lesions below the card's minimum volume are dropped, the others split by the network or by HU.
        """
        found = self.probabilities(
            hu, lung, spacing_mm, lung_known=lung_known, batch_size=batch_size, progress=progress
        )
        rules = self.card.postprocessing
        inside = self.searched(lung, lung_known)
        lesion = drop_specks(
            inside & (found.lesion >= as_byte(rules.probability_threshold)),
            spacing_mm,
            rules.minimum_lesion_ml,
        )
        if found.consolidation is not None:
            dense = lesion & (found.consolidation >= as_byte(rules.consolidation_probability))
            consolidation = drop_specks(dense, spacing_mm, MINIMUM_CONSOLIDATION_ML)
        else:
            consolidation = find_consolidation(hu, inside, lesion, spacing_mm, rules.consolidation_hu)
        labels = np.where(lung, np.uint8(Label.NORMAL_LUNG), np.uint8(Label.BACKGROUND))
        labels[lesion] = Label.GROUND_GLASS
        labels[consolidation] = Label.CONSOLIDATION
        return labels

    def _bytes_in_crop(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.float32],
        crop: Crop,
        spacing_mm: tuple[float, float, float],
    ) -> NDArray[np.uint8]:
        preprocessing = self.card.preprocessing
        shape = resampled_shape(crop.shape, spacing_mm[1:], preprocessing.spacing_mm)
        image = clip_to_tissue(torch.from_numpy(hu.astype(np.float32)).to(self.device))
        inside = resample(torch.from_numpy(lung).to(self.device), shape)
        with torch.inference_mode():
            levels = torch.from_numpy(np.unique(lung)).to(self.device)
            inside = torch.where(inside > levels.max() / 2, levels.max(), 0.0)
            probability = self._probability(network_input(resample(image, shape), inside, preprocessing))
            count, channels = probability.shape[:2]
            probability = resample(probability.flatten(0, 1), crop.shape)
            probability = probability.reshape(count, channels, *crop.shape)
            found_bytes: NDArray[np.uint8] = (probability * STEPS).floor().to(torch.uint8).cpu().numpy()
        return found_bytes

    def _probability(self, image: Tensor) -> Tensor:
        """Probabilities (slices, outputs, rows, columns) of input, padded to what the network takes."""
        stride = int(getattr(self._network, "stride", 1))
        rows, columns = image.shape[-2:]
        padded = nn.functional.pad(image, (0, -columns % stride, 0, -rows % stride))
        padded = padded.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._low_precision):
            logits = self._network(padded)
        probability: Tensor = torch.sigmoid(logits.float())[:, :, :rows, :columns]
        return probability


def choose_device(device: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    ModelError
        If the name is another or there is no CUDA device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ModelError(f"device {device!r} is unknown; known are auto, cpu and cuda")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ModelError(
            "device cuda was asked for but this machine has no usable CUDA device; use auto or cpu"
        )
    return "cuda" if available and device != "cpu" else "cpu"


def drop_specks(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], minimum_ml: float
) -> NDArray[np.bool_]:
    """The mask (z, y, x) without connected parts (26 neighbours) smaller than ``minimum_ml``."""
    kept = np.zeros_like(mask)
    box = bounding_box(mask)
    if box is None:
        return kept
    parts, _ = ndimage.label(mask[box], structure=AnyConnection)
    smallest = minimum_ml * 1000 / float(np.prod(spacing_mm))
    big = np.bincount(parts.ravel()) >= smallest
    big[0] = False
    kept[box] = big[parts]
    return kept


def find_consolidation(
    hu: NDArray[np.int16],
    lung: NDArray[np.bool_],
    lesion: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    threshold_hu: float,
) -> NDArray[np.bool_]:
    """The part of a lesion mask whose HU, smoothed within the lung, reach ``threshold_hu``.

    Smoothing looks at lung voxels only, so that chest wall and heart don't make neighbouring lung dense.
    """
    consolidation = np.zeros_like(lesion)
    sigma = [SMOOTHING_MM / spacing for spacing in spacing_mm]
    box = bounding_box(lesion, [math.ceil(SMOOTHING_REACH * s) for s in sigma])
    if box is None:
        return consolidation
    weight = lung[box].astype(np.float32)
    smooth = ndimage.gaussian_filter(hu[box] * weight, sigma, truncate=SMOOTHING_REACH)
    smooth /= np.maximum(ndimage.gaussian_filter(weight, sigma, truncate=SMOOTHING_REACH), 1e-3)
    dense = lesion[box] & (smooth >= threshold_hu)
    consolidation[box] = drop_specks(dense, spacing_mm, MINIMUM_CONSOLIDATION_ML)
    return consolidation


def bounding_box(
    mask: NDArray[np.bool_], margins: Sequence[int] = (0, 0, 0)
) -> tuple[slice, slice, slice] | None:
    """Smallest box around a 3D mask, widened by voxels along each axis; none around an empty mask."""
    found = ndimage.find_objects(mask.astype(np.uint8), max_label=1)
    if found[0] is None:
        return None
    z, y, x = (
        slice(max(edge.start - margin, 0), min(edge.stop + margin, size))
        for edge, margin, size in zip(found[0], margins, mask.shape, strict=True)
    )
    return z, y, x


def _has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the hardware; emulated it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = Path("/proc/cpuinfo")
    if device.type != "cpu" or not flags.is_file():
        return False
    words = flags.read_text(encoding="ascii", errors="replace").split()
    return "avx512_bf16" in words or "amx_bf16" in words
