"""The fastest runtime that agrees with torch in float32, found by measurement once and then remembered."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dicomnode.segment.networks import onnx
from dicomnode.segment.runtimes.memory import Memory, digest_of
from dicomnode.segment.runtimes.openvino_runtime import OpenVinoRuntime, is_installed, load_openvino
from dicomnode.segment.runtimes.runtime import (
    BFLOAT16,
    FLOAT32,
    FUSED,
    NAMES,
    OPENVINO,
    TORCH,
    Choice,
    Runtime,
    RuntimeFailedError,
    has_bfloat16,
)
from dicomnode.segment.runtimes.torch_runtime import FusedRuntime, TorchRuntime

LOGGER = logging.getLogger(__name__)

AUTO = "auto"
WANTED = (AUTO, *NAMES)

AGREEMENT = 0.999
"""Least Dice of a runtime's masks with those of torch in float32."""

ROUNDS = 2
HOPELESS = 1.5
"""So many times slower than the fastest: not measured again."""

COLD = 3.0
"""So many times slower at its first run than the fastest: not measured at all."""

Trial = Callable[[Runtime], Tensor]
"""Runs a network over a sample through a runtime and gives its decisions, a boolean tensor."""


@dataclass(frozen=True)
class Subject:
    """A network to choose a runtime for: its weights loaded, what identifies them, and where it runs.

    ``plain`` runs it where no other runtime does.
    """

    network: nn.Module
    weights_sha256: str
    device: torch.device
    trial: Trial
    plain: Runtime


def reference_runtime(network: nn.Module, device: torch.device) -> Runtime:
    """Torch as it comes: bfloat16 where the hardware computes it."""
    return TorchRuntime(network, device, BFLOAT16 if has_bfloat16(device) else FLOAT32)


def choose_runtime(subject: Subject, wanted: str = AUTO, memory: Memory | None = None) -> Runtime:
    """The runtime for a network on this machine.

    Parameters
    ----------
    wanted:
        ``auto``: what was remembered for these weights, this processor, these versions and this number of
        threads; else what is measured now, which is then remembered. ``torch``: torch as it comes. Another
        name: that runtime, in bfloat16 if the hardware computes it and the masks agree.
    memory:
        Where choices are kept; by default in :func:`~dicomnode.segment.runtimes.memory.cache_directory`.

    Notes
    -----
    A choice must stay: another runtime gives masks that differ in a few voxels. Where nothing can be
    remembered, ``auto`` is therefore torch as it comes.
    """
    if wanted == TORCH or isinstance(subject.network, onnx.OnnxNetwork):
        return subject.plain
    memory = memory or Memory()
    key = digest_of("choice 2", subject.weights_sha256, surroundings(subject.device), wanted)
    record = memory.recall(key)
    if record is None:
        measured = _measure(subject, wanted, memory)
        record = memory.remember(key, measured) or (None if wanted == AUTO else measured)
    if record is None:
        return subject.plain
    choice = Choice(record["runtime"], record["precision"])
    try:
        return build_runtime(choice, subject, memory)
    except RuntimeFailedError as error:
        _tell_unused(choice, error)
        return subject.plain


class Guarded:
    """A runtime, and another one from its first failure on."""

    def __init__(self, runtime: Runtime, plain: Runtime) -> None:
        self._runtime = runtime
        self._plain = plain

    @property
    def choice(self) -> Choice:
        """The one that runs now."""
        return self._runtime.choice

    def run(self, method: str, planes: Tensor, *, batch: int, overlap: int = 0) -> Tensor:
        """See :class:`~dicomnode.segment.runtimes.runtime.Runtime`."""
        try:
            return self._runtime.run(method, planes, batch=batch, overlap=overlap)
        except RuntimeFailedError as error:
            LOGGER.warning("a runtime failed, torch goes on: %s", error)
            self._runtime = self._plain
            return self._runtime.run(method, planes, batch=batch, overlap=overlap)


def remembered(weights_sha256: str, device: torch.device, wanted: str = AUTO) -> dict[str, Any] | None:
    """What was measured for weights on this machine, if it was: ``runtime``, ``precision``, ``measured``."""
    return Memory().recall(digest_of("choice 2", weights_sha256, surroundings(device), wanted))


def in_words(weights_sha256: str, device: torch.device, wanted: str = AUTO) -> str:
    """What is known of a network's runtime on this machine, for people."""
    if wanted == TORCH:
        return "torch, as configured"
    record = remembered(weights_sha256, device, wanted)
    if record is None:
        return f"{wanted}: not chosen yet on this machine; the first analysis or start of the node does it"
    ready = {name: one for name, one in record["measured"].items() if one["seconds"]}
    others = ", ".join(f"{name} {1000 * one['seconds']:.0f} ms" for name, one in ready.items())
    chosen = f"{record['runtime']} {record['precision']}"
    return f"{chosen}, remembered" + (f"; measured were {others}" if others else "")


def build_runtime(choice: Choice, subject: Subject, memory: Memory) -> Runtime:
    """A runtime of a network.

    Raises
    ------
    RuntimeFailedError
        If it isn't there.
    """
    network, device = subject.network, subject.device
    if choice.runtime == TORCH:
        return TorchRuntime(network, device, choice.precision)
    if choice.runtime == FUSED:
        return FusedRuntime(network, device, choice.precision)
    return OpenVinoRuntime(
        network,
        choice.precision,
        torch.get_num_threads(),
        partial(_converted, memory, subject.weights_sha256),
    )


def agreement(one: Tensor, other: Tensor) -> float:
    """Dice of two boolean tensors; 1 where both are empty."""
    both = int((one & other).sum())
    total = int(one.sum()) + int(other.sum())
    return 2 * both / total if total else 1.0


def surroundings(device: torch.device) -> dict[str, Any]:
    """What a measurement holds for: the processor, the versions, the threads."""
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "processor": processor(),
        "accelerator": accelerator,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "openvino": _openvino_version(),
        "networks": networks_sha256(),
    }


@cache
def processor() -> str:
    """Name, family, model and stepping of the first processor; they tell which instructions it has."""
    kept = ("model name", "cpu family", "model", "stepping", "flags", "Features")
    lines = []
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            break
        if line.split(":")[0].strip() in kept:
            lines.append(line)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@cache
def networks_sha256() -> str:
    """Digest of the networks' code and this package's: both are part of a converted network."""
    digest = hashlib.sha256()
    for folder in (Path(onnx.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _openvino_version() -> str:
    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:
        return ""


def _converted(memory: Memory, weights_sha256: str, method: str, convert: Callable[[], Any]) -> Any:
    made_by = (_openvino_version(), torch.__version__, networks_sha256())
    return memory.converted(digest_of("model 1", weights_sha256, method, made_by), load_openvino(), convert)


def _candidates(subject: Subject, wanted: str) -> Iterator[Choice]:
    """What is likely the fastest first; of a runtime asked for by name the first that agrees is taken."""
    for name in reversed(NAMES) if wanted == AUTO else (wanted,):
        if name == OPENVINO and (subject.device.type != "cpu" or (wanted == AUTO and not is_installed())):
            continue
        if has_bfloat16(subject.device):
            yield Choice(name, BFLOAT16)
        yield Choice(name, FLOAT32)


def _measure(subject: Subject, wanted: str, memory: Memory) -> dict[str, Any]:
    """A record: the choice, and of each candidate the seconds for the sample and the Dice."""
    began = time.monotonic()
    expected = subject.trial(TorchRuntime(subject.network, subject.device, FLOAT32))
    ready: dict[Choice, Runtime] = {}
    seconds: dict[Choice, float] = {}
    dice: dict[Choice, float] = {}
    for choice in _candidates(subject, wanted):
        try:
            runtime = build_runtime(choice, subject, memory)
            start = time.perf_counter()
            dice[choice] = agreement(expected, subject.trial(runtime))
            cold = time.perf_counter() - start
        except RuntimeFailedError as error:
            _tell_unused(choice, error)
            continue
        if dice[choice] < AGREEMENT:
            _tell_unused(choice, f"Dice {dice[choice]:.5f} with float32")
            continue
        ready[choice] = runtime
        if wanted != AUTO:
            break
        # the first run of OpenVINO converts the network, that of torch tells nearly all
        hopeless = choice.runtime != OPENVINO and cold > COLD * min(seconds.values(), default=cold)
        seconds[choice] = cold if hopeless else _time(subject, runtime)
    for _ in range(ROUNDS):
        for choice in [one for one in seconds if seconds[one] < HOPELESS * min(seconds.values())]:
            seconds[choice] = min(seconds[choice], _time(subject, ready[choice]))
    best = min(seconds or ready, key=lambda choice: seconds.get(choice, 0.0), default=subject.plain.choice)
    return {
        "runtime": best.runtime,
        "precision": best.precision,
        "measured": {
            str(choice): {"seconds": round(seconds[choice], 4) if choice in seconds else None, "dice": score}
            for choice, score in dice.items()
        },
        "took_seconds": round(time.monotonic() - began, 1),
        "load": os.getloadavg()[0],
    }


def _time(subject: Subject, runtime: Runtime) -> float:
    start = time.perf_counter()
    subject.trial(runtime)
    if subject.device.type == "cuda":
        torch.cuda.synchronize(subject.device)
    return time.perf_counter() - start


def _tell_unused(choice: Choice, why: object) -> None:
    LOGGER.warning("the runtime %s is not used: %s", choice, why)
