"""Lesions inside the lungs by a learned model, ground-glass opacity and consolidation told apart by HU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dicomnode.segment.card import ModelCard, ModelError, Postprocessing
from dicomnode.segment.inference import NetworkRunner, run_network
from dicomnode.segment.lesion_rules import (
    MINIMUM_CONSOLIDATION_ML,
    bounding_box,
    drop_specks,
    find_consolidation,
    smooth_across,
    smoothing_margins,
    touching,
)
from dicomnode.segment.networks.factory import build_network
from dicomnode.segment.networks.onnx import OnnxNetwork
from dicomnode.segment.networks.patch_unet import PatchUNetEnsemble
from dicomnode.segment.preprocess import UNKNOWN_LUNG, choose_crop, input_shape, lung_crop, resample
from dicomnode.segment.runtimes.choose import AUTO, Subject, Trial, choose_runtime, reference_runtime
from dicomnode.segment.runtimes.runtime import Choice, Runtime, RuntimeFailedError
from dicomnode.segment.sample import SPACING_MM, drawn_chest
from dicomnode.segment.segmentation import Label

LOGGER = logging.getLogger(__name__)

BATCH_SLICES = 8

TRIAL_SLICES = 8
"""Slices that runtimes are compared on."""

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

    Torch runs the network until :meth:`choose_runtime` is called.

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

    @property
    def choice(self) -> Choice:
        """The runtime that runs the network, and its precision."""
        return self._runner.choice

    def choose_runtime(self, wanted: str = AUTO) -> None:
        """Take the runtime ``wanted``; see :func:`~dicomnode.segment.runtimes.choose.choose_runtime`."""
        plain = reference_runtime(self._network, self.device)
        subject = Subject(self._network, self.card.weights.sha256, self.device, self._trial(), plain)
        self._runner.use(choose_runtime(subject, wanted))

    def _trial(self) -> Trial:
        """The network's decisions on a drawn chest, within the lungs."""
        rules, wants = self.card.postprocessing, self.card.preprocessing
        slices = TRIAL_SLICES // 2 if wants.context_slices else TRIAL_SLICES  # neighbours come on top
        hu, lung = drawn_chest(slices + 2 * wants.context_slices)
        crop = lung_crop(lung, SPACING_MM[1:], wants.crop_margin_mm)
        shape = input_shape(crop.shape, SPACING_MM[1:], wants)
        planes = self._runner.planes(hu, lung, np.arange(len(hu)), crop, shape, 1.0)
        middle = slice(wants.context_slices, len(hu) - wants.context_slices)
        inside = torch.from_numpy(lung[(middle, *crop.slices)].astype(np.float32)).to(self.device)
        inside = resample(inside, shape) > 0.5

        def decisions(runtime: Runtime) -> Tensor:
            logits = run_network(runtime, planes, wants.context_slices, BATCH_SLICES)
            lesion, *others = meanings(logits[..., : shape[0], : shape[1]].float(), rules)
            lesion = inside & (lesion >= rules.probability_threshold)
            return torch.stack((lesion, *(lesion & (other >= 0.5) for other in others)))

        return decisions

    def choose_members(self, members: Sequence[int]) -> None:
        """Let only these members of an ensemble speak: those that never saw a case judge it."""
        if not isinstance(self._network, PatchUNetEnsemble):
            raise ModelError(f"model {self.card.name} is no ensemble, it has no members to choose from")
        self._network.choose(members)
        self._runner.use(None)  # other runtimes hold a copy of all members

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
        if (box := bounding_box(searched)) is not None and total:
            # nothing was found beyond these slices and the crop
            part = (box[0], *crop.slices)
            for plane in found:
                smooth_across(plane[part], rules.smoothing_mm / spacing_mm[0])
                if not rules.finds_lungs:
                    plane[part] *= searched[part]
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
        known = partial(
            self.probabilities, hu, lung, spacing_mm, lung_known=lung_known, batch_size=batch_size
        )
        try:
            found = known(progress=progress)
        except RuntimeFailedError as error:  # from the start: a result must be one runtime's
            LOGGER.warning("a runtime failed, torch goes on: %s", error)
            self._runner.use(None)
            found = known(progress=progress)
        rules = self.card.postprocessing
        inside = self.searched(lung, lung_known)
        if found.lung is not None:
            own = touching(found.lung >= as_byte(0.5), lung)
            if 2 * np.count_nonzero(own) >= np.count_nonzero(lung):
                lung = inside = own
        labels = np.zeros(hu.shape, np.uint8)
        box = bounding_box(inside, smoothing_margins(spacing_mm))
        if box is None:
            return Found(labels, found.lesion)
        likely = inside[box] & (found.lesion[box] >= as_byte(rules.probability_threshold))
        lesion = drop_specks(likely, spacing_mm, rules.minimum_lesion_ml)
        if found.consolidation is not None:
            dense = lesion & (found.consolidation[box] >= as_byte(rules.consolidation_probability))
            consolidation = drop_specks(dense, spacing_mm, MINIMUM_CONSOLIDATION_ML)
        else:
            consolidation = find_consolidation(
                hu[box], inside[box], lesion, spacing_mm, rules.consolidation_hu
            )
        part = labels[box]
        part[lung[box]] = Label.NORMAL_LUNG
        part[lesion] = Label.GROUND_GLASS
        part[consolidation] = Label.CONSOLIDATION
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
