"""Lesions inside the lungs by a learned model, ground-glass opacity and consolidation told apart by HU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy import ndimage
from torch import Tensor

from dicomnode.segment.card import ModelCard, ModelError, Postprocessing
from dicomnode.segment.inference import NetworkRunner
from dicomnode.segment.networks.factory import build_network
from dicomnode.segment.networks.onnx import OnnxNetwork
from dicomnode.segment.networks.patch_unet import PatchUNetEnsemble
from dicomnode.segment.preprocess import UNKNOWN_LUNG, choose_crop, resample
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

    ``consolidation`` is the probability that a lesion, if it is one, is consolidation. ``lung`` is there if
    the network finds the lungs itself; nothing is then 0 outside those it was given.
    """

    lesion: NDArray[np.uint8]
    consolidation: NDArray[np.uint8] | None
    lung: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """Label map (values of ``Label``), and the stored probability of lesion (see :func:`as_byte`)."""

    labels: NDArray[np.uint8]
    levels: NDArray[np.uint8]


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
        network = build_network(card.network)
        try:
            if isinstance(network, OnnxNetwork):
                network.load_weights(card.weights_path)
            else:
                network.load_state_dict(load_file(card.weights_path))
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"model {card.name}: the weights don't fit the network: {error}") from error
        self._network = network
        self._runner = NetworkRunner(network, card.preprocessing, torch.device(device))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._runner.device

    def choose_members(self, members: Sequence[int]) -> None:
        """Let only these members of an ensemble speak: those that never saw a case judge it."""
        if not isinstance(self._network, PatchUNetEnsemble):
            raise ModelError(f"model {self.card.name} is no ensemble, it has no members to choose from")
        self._network.choose(members)

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
        rules, in_plane = self.card.postprocessing, spacing_mm[1:]
        planes = 1 if rules.splits_by_hu else 3 if rules.finds_lungs else 2
        found = np.zeros((planes, *hu.shape), dtype=np.uint8)
        total = int(searched.any(axis=(1, 2)).sum())
        if total:
            crop = choose_crop(hu, searched, spacing_mm, self.card.preprocessing)
            level = UNKNOWN_LUNG if searched is not lung else 1.0
            done = 0
            for chosen, logits in self._runner.logits(hu, searched, crop, in_plane, batch_size, level):
                for plane, probability in zip(found, meanings(logits, rules), strict=True):
                    enlarged = resample(probability, crop.shape)
                    plane[(chosen, *crop.slices)] = (enlarged * STEPS).floor().to(torch.uint8).cpu().numpy()
                done += int(searched[chosen].any(axis=(1, 2)).sum())
                if progress is not None:
                    progress(done / total)
        for plane in found:
            smooth_across(plane, rules.smoothing_mm / spacing_mm[0])
        if not rules.finds_lungs:
            found *= searched
        return Probabilities(found[0], found[1] if planes > 1 else None, found[2] if planes > 2 else None)

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
        """Label map (values of ``Label``) of a volume; see :meth:`search`."""
        found = self.search(
            hu, lung, spacing_mm, lung_known=lung_known, batch_size=batch_size, progress=progress
        )
        return found.labels

    def search(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.bool_],
        spacing_mm: tuple[float, float, float],
        *,
        lung_known: bool = True,
        batch_size: int = BATCH_SLICES,
        progress: Callable[[float], None] | None = None,
    ) -> Found:
        """Labels and probabilities of a volume; parameters as in :meth:`probabilities`.

        Lesions below the card's minimum volume are dropped, the others split by the network or by HU.
        Of a network that finds lungs the parts count that touch ``lung``; if they are less than half of it,
        ``lung`` stands.
        """
        found = self.probabilities(
            hu, lung, spacing_mm, lung_known=lung_known, batch_size=batch_size, progress=progress
        )
        rules = self.card.postprocessing
        inside = self.searched(lung, lung_known)
        if found.lung is not None:
            own = touching(found.lung >= as_byte(0.5), lung)
            if 2 * np.count_nonzero(own) >= np.count_nonzero(lung):
                lung = inside = own
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
        return Found(labels, found.lesion)


def meanings(logits: Tensor, rules: Postprocessing) -> list[Tensor]:
    """Probabilities (slices, rows, columns) of lesion, of consolidation if lesion, and of lung, if told."""
    if rules.exclusive:
        background, _, dense = torch.softmax(logits, dim=1).unbind(1)
        lesion = 1 - background
        return [lesion, dense / lesion.clamp(min=1e-6)]
    channels = dict(zip(rules.channels, torch.sigmoid(logits).unbind(1), strict=True))
    return [channels[name] for name in ("lesion", "consolidation", "lung") if name in channels]


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


def smooth_across(levels: NDArray[np.uint8], sigma: float) -> None:
    """Smooth stored probabilities (slices, rows, columns) across slices in place; ``sigma`` in slices."""
    box = bounding_box(levels > 0)
    if sigma > 0 and box is not None and len(levels) > 1:
        ndimage.gaussian_filter1d(
            levels[box], sigma, axis=0, output=levels[box], mode="nearest", truncate=3.0
        )


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


def touching(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts (26 neighbours) of a mask (z, y, x) that share a voxel with ``other``."""
    parts, count = ndimage.label(mask, structure=AnyConnection)
    chosen = np.zeros(count + 1, dtype=np.bool_)
    chosen[np.unique(parts[other])] = True
    chosen[0] = False
    kept: NDArray[np.bool_] = chosen[parts]
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
