"""What a runtime is: something that runs a network's methods over slices that don't know of each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TORCH = "torch"
FUSED = "fused"
OPENVINO = "openvino"
NAMES = (TORCH, FUSED, OPENVINO)

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)


class RuntimeFailedError(Exception):
    """A runtime that isn't torch can't build or run a network; torch can."""


@dataclass(frozen=True)
class Choice:
    """A runtime's name, one of :data:`NAMES`, and the precision it computes in, one of :data:`PRECISIONS`."""

    runtime: str
    precision: str

    def __post_init__(self) -> None:
        if self.runtime not in NAMES or self.precision not in PRECISIONS:
            raise ValueError(f"no runtime {self.runtime!r} in {self.precision!r} is known")

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"


class Runtime(Protocol):
    """A network ready to run."""

    @property
    def choice(self) -> Choice:
        """Which one it is."""

    def run(self, method: str, planes: Tensor, *, batch: int, overlap: int = 0) -> Tensor:
        """Results of a method of the network, one for each ``overlap`` + 1 consecutive planes.

        Parameters
        ----------
        method:
            ``forward``, or another of the network's that takes one tensor.
        planes:
            Float tensor (planes, channels, ...) on the runtime's device.
        batch:
            So many results are computed at once, always: the last batch is filled up. A result so doesn't
            depend on what is computed beside it or how many there are.
        overlap:
            0 where each plane stands alone.

        Returns
        -------
        Tensor
            (planes - ``overlap``, channels, ...) on the device of ``planes``, float32 or what the runtime
            computes in.

        Raises
        ------
        RuntimeFailedError
            If a runtime other than torch fails.
        """


def batches(planes: Tensor, batch: int, overlap: int) -> Iterator[tuple[int, Tensor]]:
    """Batches of exactly ``batch`` + ``overlap`` planes, and how many results of each count.

    The last one is filled up with its last plane.
    """
    results = len(planes) - overlap
    for start in range(0, results, batch):
        part = planes[start : start + batch + overlap]
        missing = batch + overlap - len(part)
        if missing:
            part = torch.cat((part, part[-1:].expand(missing, *part.shape[1:])))
        yield min(batch, results - start), part


def pad_to_stride(planes: Tensor, network: nn.Module) -> Tensor:
    """Planes with rows and columns in multiples of what the network takes."""
    stride = int(getattr(network, "stride", 1))
    return F.pad(planes, (0, -planes.shape[-1] % stride, 0, -planes.shape[-2] % stride))


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the hardware; emulated it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = Path("/proc/cpuinfo")
    if device.type != "cpu" or not flags.is_file():
        return False
    words = flags.read_text(encoding="ascii", errors="replace").split()
    return "avx512_bf16" in words or "amx_bf16" in words
