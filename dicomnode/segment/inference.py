"""A network run over a volume: slices in batches, neighbours shared, smaller batches when memory ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.preprocess import Crop, clip_to_tissue, input_shape, network_input, resample
from dicomnode.segment.runtimes.choose import reference_runtime
from dicomnode.segment.runtimes.runtime import Choice, Runtime, has_bfloat16, pad_to_stride

__all__ = ["NetworkRunner", "has_bfloat16"]

LOGGER = logging.getLogger(__name__)


class NetworkRunner:
    """A network with its preprocessing on a device; gives logits for slices of a volume.

    A network that sees neighbours has two methods beside ``forward``: ``encode`` takes slices
    (slices, 1, rows, columns) and gives what each of them brings into every window it is part of, ``decode``
    takes that of n + 2 x context consecutive slices and gives the logits of the n in the middle. What windows
    share is so computed once. Beyond the ends of the volume its last slice is repeated.

    It is run by torch until :meth:`use` names another runtime.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, device: torch.device) -> None:
        self.device = device
        self._preprocessing = preprocessing
        self._network = network
        self._runtime: Runtime = reference_runtime(network, device)

    @property
    def choice(self) -> Choice:
        """The runtime and its precision."""
        return self._runtime.choice

    def use(self, runtime: Runtime | None) -> None:
        """Let another runtime run the network; None: torch as it comes."""
        self._runtime = runtime or reference_runtime(self._network, self.device)

    def logits(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.bool_],
        crop: Crop,
        spacing_mm: tuple[float, float],
        batch_size: int,
        level: float = 1.0,
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Indices of slices and their logits (slices, channels, rows, columns) at the network's resolution.

        ``level`` is what the mask says of a voxel inside ``lung``: 1, or less where the lungs are not known.

        Slices without lung are left out, except between others where the network sees neighbours. A batch
        that memory doesn't hold is halved; a single slice that the GPU doesn't hold goes to the CPU.

        Raises
        ------
        RuntimeFailedError
            If a runtime other than torch fails.
        """
        context = self._preprocessing.context_slices
        wanted = np.flatnonzero(lung.any(axis=(1, 2)))
        if context and wanted.size:
            wanted = np.arange(wanted[0], wanted[-1] + 1)
        shape = input_shape(crop.shape, spacing_mm, self._preprocessing)
        last, start, kept = len(hu) - 1, 0, torch.empty(0)
        while start < len(wanted):
            chosen = wanted[start : start + batch_size]
            try:
                if context:
                    needed = np.arange(chosen[0] - context, chosen[-1] + context + 1)[len(kept) :]
                    planes = self.planes(hu, lung, np.clip(needed, 0, last), crop, shape, level)
                    fresh = self._runtime.run("encode", planes, batch=batch_size)
                    window = torch.cat((kept.to(fresh), fresh)) if len(kept) else fresh
                    found = self._runtime.run("decode", window, batch=batch_size, overlap=2 * context)
                else:
                    planes = self.planes(hu, lung, chosen, crop, shape, level)
                    found = self._runtime.run("forward", planes, batch=batch_size)
            except (RuntimeError, MemoryError) as error:
                batch_size = self._give_way(error, len(chosen))
                continue
            if context:
                kept = window[len(window) - 2 * context :].clone()
            yield chosen, found[..., : shape[0], : shape[1]].float()
            start += len(chosen)

    def planes(
        self,
        hu: NDArray[np.int16],
        lung: NDArray[np.bool_],
        chosen: NDArray[np.int64],
        crop: Crop,
        shape: tuple[int, int],
        level: float,
    ) -> Tensor:
        """Network input (slices, channels, rows, columns), padded to what the network takes."""
        box = (chosen, *crop.slices)
        image = clip_to_tissue(torch.from_numpy(hu[box].astype(np.float32)).to(self.device))
        inside = torch.from_numpy(lung[box].astype(np.float32)).to(self.device)
        inside = (resample(inside, shape) > 0.5) * level
        return pad_to_stride(
            network_input(resample(image, shape), inside, self._preprocessing), self._network
        )

    def _give_way(self, error: Exception, batch: int) -> int:
        """The batch size to go on with after ``error``, which is raised again unless memory was short."""
        if not _out_of_memory(error):
            raise error
        if batch > 1:
            LOGGER.warning("memory doesn't hold a batch of %d slices, trying %d", batch, batch // 2)
            return batch // 2
        if self.device.type == "cpu":
            raise error
        LOGGER.warning("the GPU's memory doesn't hold a slice, going on on the CPU")
        self.device = torch.device("cpu")
        self.use(None)
        return 1


def run_network(runtime: Runtime, planes: Tensor, context: int, batch: int) -> Tensor:
    """Logits of all planes but the first and last ``context`` ones, which they see as neighbours."""
    if not context:
        return runtime.run("forward", planes, batch=batch)
    encoded = runtime.run("encode", planes, batch=batch)
    return runtime.run("decode", encoded, batch=batch, overlap=2 * context)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
