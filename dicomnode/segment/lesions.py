"""Lesions inside the lungs by a learned model, ground-glass opacity and consolidation told apart by HU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    Crop,
    clip_to_tissue,
    lung_crop,
    normalise,
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
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.bool_]:
        """Lesion mask: where the network's probability reaches the card's threshold inside the lung.

        Parameters
        ----------
        hu, lung:
            Shape (slices, rows, columns) with axes superior, posterior, left of the patient.
        spacing_mm:
            Spacing of those axes.
        batch_size:
            Slices computed at once; it changes memory and speed, not the result.
        progress:
            Gets the part done, 0 to 1, after each batch.
        """
        lesion = np.zeros(hu.shape, dtype=np.bool_)
        with_lung = np.flatnonzero(lung.any(axis=(1, 2)))
        if with_lung.size:
            crop = lung_crop(lung, spacing_mm[1:], self.card.preprocessing.crop_margin_mm)
            for start in range(0, len(with_lung), batch_size):
                chosen = with_lung[start : start + batch_size]
                box = (chosen, *crop.slices)
                lesion[box] = self._find_in_crop(hu[box], lung[box], crop, spacing_mm) & lung[box]
                if progress is not None:
                    progress(min(start + batch_size, len(with_lung)) / len(with_lung))
        return lesion

    def label(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.bool_],
        spacing_mm: tuple[float, float, float],
        *,
        batch_size: int = BATCH_SLICES,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.uint8]:
        """Label map (values of ``Label``) of a volume; parameters as in :meth:`find`.

        Lesions below the card's minimum volume are dropped, the others split by smoothed HU.
        """
        lesion = self.find(hu, lung, spacing_mm, batch_size=batch_size, progress=progress)
        rules = self.card.postprocessing
        lesion = drop_specks(lesion, spacing_mm, rules.minimum_lesion_ml)
        consolidation = find_consolidation(hu, lung, lesion, spacing_mm, rules.consolidation_hu)
        labels = np.where(lung, np.uint8(Label.NORMAL_LUNG), np.uint8(Label.BACKGROUND))
        labels[lesion] = Label.GROUND_GLASS
        labels[consolidation] = Label.CONSOLIDATION
        return labels

    def _find_in_crop(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.bool_],
        crop: Crop,
        spacing_mm: tuple[float, float, float],
    ) -> NDArray[np.bool_]:
        preprocessing = self.card.preprocessing
        shape = resampled_shape(crop.shape, spacing_mm[1:], preprocessing.spacing_mm)
        image = clip_to_tissue(torch.from_numpy(hu.astype(np.float32)).to(self.device))
        inside = torch.from_numpy(lung.astype(np.float32)).to(self.device)
        with torch.inference_mode():
            image = normalise(resample(image, shape), resample(inside, shape) > 0.5, preprocessing)
            probability = resample(self._probability(image), crop.shape)
            found: NDArray[np.bool_] = (
                (probability >= self.card.postprocessing.probability_threshold).cpu().numpy()
            )
        return found

    def _probability(self, image: Tensor) -> Tensor:
        """Probability (slices, rows, columns) of normalised slices, padded to what the network takes."""
        stride = int(getattr(self._network, "stride", 1))
        rows, columns = image.shape[-2:]
        padded = nn.functional.pad(image[:, None], (0, -columns % stride, 0, -rows % stride))
        padded = padded.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._low_precision):
            logits = self._network(padded)
        probability: Tensor = torch.sigmoid(logits.float())[:, 0, :rows, :columns]
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
