"""A model as an ONNX file: the same answer as the network it was exported from."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dicomnode.segment.card import ModelError, load_card, sha256_of
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.networks.onnx import OnnxNetwork
from tests.model_folder import density_network, make_model

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install dicomnode[onnx]")
onnx = pytest.importorskip("onnx", reason="the package onnx is needed to export a model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are an ONNX file; ``original`` below it holds the same one in safetensors."""
    directory = tmp_path_factory.mktemp("models") / "small"
    make_model(directory / "original", density_network())
    torch.onnx.export(
        density_network().eval(),
        (torch.zeros(2, 1, 32, 48),),
        directory / "weights.onnx",
        dynamo=False,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch", 2: "rows", 3: "columns"}},
    )
    text = (directory / "original" / "model.toml").read_text(encoding="utf-8")
    text = text.replace(
        'module = "unet2d"\nclass_name = "UNet2d"', 'module = "onnx"\nclass_name = "OnnxNetwork"'
    )
    text = text.replace("width = 4", "stride = 16").replace("weights.safetensors", "weights.onnx")
    digest = sha256_of(directory / "weights.onnx")
    text = re.sub('sha256 = ".*"', f'sha256 = "{digest}"', text)
    (directory / "model.toml").write_text(text, encoding="utf-8")
    return directory


def test_it_finds_what_its_original_finds(folder: Path) -> None:
    rng = np.random.default_rng(0)
    hu = rng.normal(-870, 20, (5, 70, 90)).astype(np.int16)
    hu[1:4, 20:50, 30:60] += 500
    lung = np.ones(hu.shape, dtype=np.bool_)
    found, expected = (
        LesionModel(load_card(path)).label(hu, lung, (5.0, 1.0, 1.3), batch_size=size)
        for path, size in ((folder, 2), (folder / "original", 8))
    )
    assert (expected >= 2).sum() > 1000
    assert (found != expected).sum() <= lung.sum() / 1000  # the original computes in bfloat16 where it can


def test_another_file_than_the_card_s_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_bytes((folder / "model.toml").read_bytes())
    (tmp_path / "weights.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match="SHA-256"):
        load_card(tmp_path)


def test_a_file_that_is_no_network_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "weights.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"ONNX Runtime doesn't take .*weights.onnx"):
        OnnxNetwork().load_weights(tmp_path / "weights.onnx")
