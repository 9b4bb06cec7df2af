"""OpenVINO on the CPU: one slice a request, as many requests at once as there are threads."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from dicomnode.segment.runtimes.runtime import OPENVINO, Choice, RuntimeFailedError

HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoRuntime:
    """A network's methods converted once and compiled for each shape of input.

    Results don't depend on how many are computed at once: each is a request of its own.

    Parameters
    ----------
    network:
        On the CPU, with its weights.
    precision:
        What convolutions are computed in.
    threads:
        Requests at once, each on a thread of its own.
    converted:
        Gets a method's name and what converts it, gives the converted method: kept ones need no conversion.

    Raises
    ------
    RuntimeFailedError
        If OpenVINO isn't installed.
    """

    def __init__(
        self,
        network: nn.Module,
        precision: str,
        threads: int,
        converted: Callable[[str, Callable[[], Any]], Any] | None = None,
    ) -> None:
        self.choice = Choice(OPENVINO, precision)
        self._network = network
        self._threads = threads
        self._converted = converted or (lambda method, convert: convert())
        self._openvino = load_openvino()
        self._core = self._openvino.Core()
        self._models: dict[str, Any] = {}
        self._compiled: dict[tuple[str, tuple[int, ...]], Any] = {}

    def run(self, method: str, planes: Tensor, *, batch: int, overlap: int = 0) -> Tensor:
        """See :class:`~dicomnode.segment.runtimes.runtime.Runtime`; ``batch`` is of no meaning here."""
        pixels = np.ascontiguousarray(planes.float().numpy())
        try:
            queue = self._queue(method, (overlap + 1, *pixels.shape[1:]))
            found: list[Any] = [None] * (len(pixels) - overlap)

            def keep(request: Any, index: int) -> None:
                found[index] = request.get_output_tensor(0).data.copy()

            queue.set_callback(keep)
            for index in range(len(found)):
                queue.start_async({0: pixels[index : index + overlap + 1]}, index, share_inputs=True)
            queue.wait_all()
        except RuntimeError as error:
            raise RuntimeFailedError(f"OpenVINO can't run {method}: {error}") from error
        return torch.from_numpy(np.concatenate(found))

    def _queue(self, method: str, shape: tuple[int, ...]) -> Any:
        """Requests of a method for inputs of one shape; the last few shapes are kept."""
        if (queue := self._compiled.get((method, shape))) is None:
            model = self._model(method, shape)
            model.reshape(list(shape))
            settings = {
                "INFERENCE_PRECISION_HINT": HINTS[self.choice.precision],
                "NUM_STREAMS": self._threads,
                "INFERENCE_NUM_THREADS": self._threads,
                "ENABLE_CPU_PINNING": False,  # a pinned thread can't make way for a busy neighbour
            }
            queue = self._openvino.AsyncInferQueue(
                self._core.compile_model(model, "CPU", settings), self._threads
            )
            while len(self._compiled) >= SHAPES_KEPT:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[method, shape] = queue
        return queue

    def _model(self, method: str, shape: tuple[int, ...]) -> Any:
        if method not in self._models:
            self._models[method] = self._converted(method, lambda: convert(self._network, method, shape))
        return self._models[method]


SHAPES_KEPT = 6
"""Compiled shapes hold memory; a node meets a new one with each crop."""


class _Method(nn.Module):
    """One method of a network as a module of its own."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, planes: Tensor) -> Tensor:
        result: Tensor = getattr(self.network, self.method)(planes)
        return result


TELEMETRY = "openvino_telemetry"


def load_openvino() -> Any:
    """The package, without the part of it that reports its use to its maker.

    A hospital's machine has nothing to tell anybody. That part also sends from a forked process, which hangs
    for ever where the fork took a lock along. OpenVINO does without it where it can't be imported.

    Raises
    ------
    RuntimeFailedError
        If it isn't installed.
    """
    sys.modules.setdefault(TELEMETRY, cast(ModuleType, None))  # what is None there can't be imported
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise RuntimeFailedError("OpenVINO isn't installed: pip install dicomnode[openvino]") from error


def convert(network: nn.Module, method: str, shape: tuple[int, ...]) -> Any:
    """A method of a network as an OpenVINO model for one shape of input; it can be reshaped.

    ``openvino.convert_model`` does the same and more: it silences the root logger, and tells its maker of
    each conversion over the Internet.

    Raises
    ------
    RuntimeFailedError
        If the network has a part that OpenVINO doesn't know.
    """
    frontends = importlib.import_module("openvino.frontend")
    decoder = importlib.import_module("openvino.frontend.pytorch.ts_decoder").TorchScriptPythonDecoder
    module = _Method(network, method).eval()
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing: shapes are checked in Python, and are the same
            traced = decoder(module, example_input=torch.zeros(shape))
            frontend = frontends.FrontEndManager().load_by_framework("pytorch")
            return frontend.convert(frontend.load(traced))
    except Exception as error:  # the converter's errors have no base of their own
        raise RuntimeFailedError(f"OpenVINO doesn't take {method} of this network: {error}") from error


def is_installed() -> bool:
    """Whether OpenVINO can be imported, without importing it."""
    return importlib.util.find_spec("openvino") is not None
