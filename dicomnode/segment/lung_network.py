"""The lung network run over a volume's coarse grid: which voxels belong to the lungs, aerated or not."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from dicomnode.segment.card import ModelError
from dicomnode.segment.lung_card import LungCard
from dicomnode.segment.lung_input import AIR_HU, in_plane, network_input, plane_indices, resampled
from dicomnode.segment.morphology import Mask, Spacing, bounding_box
from dicomnode.segment.networks.factory import build_network
from dicomnode.segment.runtimes.choose import AUTO, Guarded, Subject, choose_runtime, reference_runtime
from dicomnode.segment.runtimes.runtime import Choice, Runtime
from dicomnode.segment.sample import SPACING_MM as DRAWN_SPACING_MM
from dicomnode.segment.sample import drawn_chest

SLICE_STEP_MM = 5.0
"""About so far from each other are the slices that the network sees; between them it is interpolated."""

BODY_MARGIN_MM = 12.0
BATCH = 8
CPU = torch.device("cpu")


class LungNetwork:
    """A trained network with its card, ready on the CPU: its slices are too coarse to pay for a GPU.

    Parameters
    ----------
    card:
        Card as :func:`~dicomnode.segment.lung_card.load_lung_card` gives it: its checksum is verified.

    Raises
    ------
    ModelError
        If the weights don't fit the network the card names.
    """

    def __init__(self, card: LungCard) -> None:
        self.card = card
        network = build_network(card.network)
        try:
            network.load_state_dict({n: _wide(tensor) for n, tensor in load_file(card.weights_path).items()})
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"model {card.name}: the weights don't fit the network: {error}") from error
        self._network = network
        self._stride = int(getattr(network, "stride", 1))
        self._runtime: Runtime = reference_runtime(network, CPU)

    @property
    def choice(self) -> Choice:
        """The runtime that runs the network, and its precision."""
        return self._runtime.choice

    def choose_runtime(self, wanted: str = AUTO) -> None:
        """Take the runtime ``wanted``; see :func:`~dicomnode.segment.runtimes.choose.choose_runtime`."""
        plain = reference_runtime(self._network, CPU)
        hu, _ = drawn_chest(BATCH)
        chest = torch.from_numpy(hu.astype(np.float32))

        def decisions(runtime: Runtime) -> Tensor:
            self._runtime = runtime
            return self.slices(chest, DRAWN_SPACING_MM[0]) >= self.card.rules.probability

        subject = Subject(self._network, self.card.weights.sha256, CPU, decisions, plain)
        self._runtime = Guarded(choose_runtime(subject, wanted), plain)

    def probability(self, hu: NDArray[np.float32], body: Mask, spacing_mm: Spacing) -> NDArray[np.float32]:
        """Probability of lung, float32 on the grid of ``hu``; 0 far from the body.

        Parameters
        ----------
        hu, body:
            Coarse grid (superior, posterior, left): HU and the mask of the patient.
        spacing_mm:
            Spacing of that grid.
        """
        box = bounding_box(body, BODY_MARGIN_MM, spacing_mm)
        part = torch.from_numpy(np.ascontiguousarray(hu[box]))
        every = max(1, round(SLICE_STEP_MM / spacing_mm[0]))
        chosen = torch.arange(min(every // 2, len(part) - 1), len(part), every)
        seen = self.slices(in_plane(part, spacing_mm[1:], self.card.input.spacing_mm), spacing_mm[0], chosen)
        out = np.zeros(hu.shape, np.float32)
        out[box] = _between(resampled(seen, (part.shape[1], part.shape[2])), chosen, len(part), every).numpy()
        return out

    def slices(self, hu: Tensor, step_mm: float, chosen: Tensor | None = None) -> Tensor:
        """Probability (slices, rows, columns) of slices in HU that are at the network's spacing.

        ``step_mm`` is their distance, 0 if each stands alone; ``chosen`` are the indices asked for, all if
        not given.
        """
        count, rows, columns = hu.shape
        padded = F.pad(hu, (0, -columns % self._stride, 0, -rows % self._stride), value=AIR_HU)
        planes_mm = self.card.input.planes_mm
        planes = (
            plane_indices(count, step_mm, planes_mm)
            if step_mm
            else torch.arange(count)[:, None].expand(-1, len(planes_mm))
        )
        found = []
        for indices in torch.split(planes if chosen is None else planes[chosen], BATCH):
            logits = self._runtime.run("forward", network_input(padded[indices]), batch=BATCH)
            found.append(torch.sigmoid(logits[:, 0].float()))
        return torch.cat(found)[:, :rows, :columns]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _between(seen: Tensor, chosen: Tensor, count: int, every: int) -> Tensor:
    """Every one of ``count`` slices from those that were chosen, linearly; beyond the ends the last one's."""
    place = ((torch.arange(count) - chosen[0]) / every).clamp(0, len(chosen) - 1)
    low = place.floor().long()
    share = (place - low)[:, None, None]
    return torch.lerp(seen[low], seen[(low + 1).clamp(max=len(chosen) - 1)], share)
