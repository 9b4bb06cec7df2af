"""A network that somebody else trained, as an ONNX file beside its card."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dicomnode.segment.card_file import ModelError


class OnnxNetwork(nn.Module):
    """One input (batch, channels, rows, columns) in float32, one output: logits of the same rows and columns.

    It is run by ONNX Runtime on the CPU, whatever device the node uses for others; it can't be trained here.

    Parameters
    ----------
    stride:
        Rows and columns of the input must be multiples of this.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self._session: Any = None

    def load_weights(self, path: Path) -> None:
        """The file whose checksum the card holds.

        Raises
        ------
        ModelError
            If ONNX Runtime isn't installed or doesn't take the file.
        """
        try:
            onnxruntime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise ModelError("ONNX models need ONNX Runtime: pip install dicomnode[onnx]") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's errors have no base of their own
            raise ModelError(f"ONNX Runtime doesn't take {path}: {error}") from error
        if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
            raise ModelError(f"{path} must have one input and one output")
        self._session = session

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image, on the image's device."""
        if self._session is None:
            raise ModelError("an ONNX network has no logits before its file is loaded")
        name = self._session.get_inputs()[0].name
        planes: Any = image.float().contiguous().cpu().numpy()
        return torch.from_numpy(self._session.run(None, {name: planes})[0]).to(image.device)
