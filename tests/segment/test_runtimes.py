"""Runtimes: each gives what torch gives, the choice is made once, kept, and made of those that agree."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dicomnode.segment.card import load_card, models_directory
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.lobe_card import installed_lobe_card
from dicomnode.segment.lobes import LobeModel
from dicomnode.segment.lung_card import installed_lung_card
from dicomnode.segment.lung_network import LungNetwork
from dicomnode.segment.networks.deeplung import DeepLung
from dicomnode.segment.networks.lesion_net import LesionNet
from dicomnode.segment.networks.partnered import PartneredEnsemble
from dicomnode.segment.networks.patch_unet import PatchUNet, PatchUNetEnsemble
from dicomnode.segment.networks.three_nets import ThreeNets
from dicomnode.segment.networks.unet2d import UNet2d
from dicomnode.segment.networks.unet3d import UNet3d
from dicomnode.segment.runtimes import choose
from dicomnode.segment.runtimes.choose import Guarded, Subject, agreement, choose_runtime
from dicomnode.segment.runtimes.memory import Memory
from dicomnode.segment.runtimes.openvino_runtime import OpenVinoRuntime
from dicomnode.segment.runtimes.runtime import (
    BFLOAT16,
    FLOAT32,
    FUSED,
    OPENVINO,
    TORCH,
    Choice,
    Runtime,
    RuntimeFailedError,
)
from dicomnode.segment.runtimes.torch_runtime import FusedRuntime, TorchRuntime, folded

CPU = torch.device("cpu")

NETWORKS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "unet2d": (UNet2d(width=4), (1, 32, 48)),
    "ensemble": (PatchUNetEnsemble(2, width=4), (2, 32, 48)),
    "partnered": (PartneredEnsemble(2, -1100, 1300, -1350, 1500, 4, width=4), (2, 32, 48)),
    "patch": (PatchUNet(3, 1, width=4), (3, 32, 48)),
    "lesion_net": (LesionNet(width=4), (1, 32, 48)),
    "three": (ThreeNets(width=4), (1, 32, 48)),
    "unet3d": (UNet3d(2, 3, width=4, levels=1), (2, 8, 12, 10)),
}


def _ready(network: nn.Module) -> nn.Module:
    """Statistics of normalisation as after training: without them folding changes nothing."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


def _image(count: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(2))


CONVERTING = """
import importlib, sys, time
from pathlib import Path
import torch
from dicomnode.segment.networks.unet2d import UNet2d
from dicomnode.segment.runtimes.openvino_runtime import OpenVinoRuntime
OpenVinoRuntime(UNet2d(width=4).eval(), "float32", 2).run("forward", torch.zeros(1, 1, 32, 48), batch=1)
importlib.import_module("openvino.tools.ovc")  # all that could tell
print([name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module])
print([path.read_text() for path in Path("/proc/self/task").glob("*/children") if path.read_text().strip()])
"""


def test_openvino_told_its_maker_of_each_start_from_a_process_that_outlived_the_worker() -> None:
    done = subprocess.run([sys.executable, "-c", CONVERTING], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_and_openvino_give_what_torch_gives_at_each_shape(name: str) -> None:
    network, shape = NETWORKS[name]
    _ready(network)
    runtimes = [FusedRuntime(network, CPU, FLOAT32), OpenVinoRuntime(network, FLOAT32, 2)]
    for larger in (1, 2):  # the second shape is run by what was converted for the first
        image = _image(3, (*shape[:-1], shape[-1] * larger))
        expected = TorchRuntime(network, CPU, FLOAT32).run("forward", image, batch=4)
        assert expected.std() > 0
        for runtime in runtimes:
            found = runtime.run("forward", image, batch=4)
            torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


def test_windows_of_slices_are_run_by_each_runtime() -> None:
    network = DeepLung(context=2, growth=4, layers=2, hidden=4)
    _ready(network)
    image = _image(9, (1, 32, 48))
    results = []
    for runtime in (
        TorchRuntime(network, CPU, FLOAT32),
        FusedRuntime(network, CPU, FLOAT32),
        OpenVinoRuntime(network, FLOAT32, 2),
    ):
        encoded = runtime.run("encode", image, batch=4)
        results.append(runtime.run("decode", encoded, batch=4, overlap=4))
        assert len(results[-1]) == 5
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("kind", [TORCH, FUSED, OPENVINO])
@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16])
def test_a_result_does_not_depend_on_what_is_computed_beside_it(kind: str, precision: str) -> None:
    network, shape = NETWORKS["ensemble"]
    runtime = _runtime(kind, _ready(network), precision)
    image = _image(11, shape)
    together = runtime.run("forward", image, batch=4)
    for chosen in ([0], [3, 4, 5, 6, 7, 8], [10, 2]):
        assert torch.equal(runtime.run("forward", image[chosen], batch=4), together[chosen])


def _runtime(kind: str, network: nn.Module, precision: str) -> Runtime:
    if kind == OPENVINO:
        return OpenVinoRuntime(network, precision, 2)
    return (TorchRuntime if kind == TORCH else FusedRuntime)(network, CPU, precision)


def test_folding_leaves_no_normalisation_behind_a_convolution_and_the_network_as_it_was() -> None:
    network = _ready(UNet2d(width=4))
    before = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(network).modules())
    assert before == sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) > 0


class _Threshold(nn.Module):
    """Says lesion above a value; ``unknown`` uses an operation that OpenVINO has no words for."""

    def __init__(self, unknown: bool = False) -> None:
        super().__init__()
        self.unknown = unknown
        self.convolution = nn.Conv2d(1, 1, 1)
        nn.init.constant_(self.convolution.weight, 8.0)
        assert self.convolution.bias is not None
        nn.init.constant_(self.convolution.bias, -4.0)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.convolution(image)
        return torch.special.zeta(logits.abs() + 2, torch.tensor(3.0)) if self.unknown else logits


def _subject(network: nn.Module) -> Subject:
    image = _image(2, (1, 32, 48))
    plain = TorchRuntime(network, CPU, FLOAT32)
    return Subject(network, "0" * 64, CPU, lambda runtime: runtime.run("forward", image, batch=2) > 0, plain)


def test_the_choice_is_made_once_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(tmp_path)
    first = choose_runtime(_subject(_Threshold()), memory=memory).choice
    (record,) = (tmp_path / "runtimes").glob("*.json")
    content = json.loads(record.read_text())
    assert str(first) == f"{content['runtime']} {content['precision']}"
    assert {"torch float32", "fused float32", "openvino float32"} <= set(content["measured"])
    slowest = {"torch": "fused", "fused": "openvino", "openvino": "torch"}[first.runtime]
    record.write_text(json.dumps(content | {"runtime": slowest, "precision": FLOAT32}))
    assert choose_runtime(_subject(_Threshold()), memory=memory).choice == Choice(slowest, FLOAT32)
    monkeypatch.setattr(choose, "processor", lambda: "another")
    choose_runtime(_subject(_Threshold()), memory=memory)
    assert len(list((tmp_path / "runtimes").glob("*.json"))) == 2


def test_of_two_that_measure_at_once_the_first_to_remember_is_right(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.remember("key", {"runtime": TORCH}) == {"runtime": TORCH}
    assert memory.remember("key", {"runtime": FUSED}) == {"runtime": TORCH}
    (tmp_path / "runtimes" / "key.json").write_text("{")
    assert memory.recall("key") is None
    assert memory.remember("key", {"runtime": FUSED}) == {"runtime": FUSED}


def test_a_runtime_that_does_not_agree_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = FusedRuntime.run
    monkeypatch.setattr(FusedRuntime, "run", lambda *args, **named: run(*args, **named) - 0.1)
    assert choose_runtime(_subject(_Threshold()), FUSED, Memory(tmp_path)).choice.runtime == TORCH
    assert "the runtime fused float32 is not used: Dice 0.9" in caplog.text


def test_a_network_that_openvino_does_not_know_is_left_to_torch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = choose_runtime(_subject(_Threshold(unknown=True)), OPENVINO, Memory(tmp_path))
    assert runtime.choice.runtime == TORCH
    assert "OpenVINO doesn't take forward of this network" in caplog.text


def test_without_a_memory_torch_computes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    runtime = choose_runtime(_subject(_Threshold()), memory=Memory(tmp_path / "file"))
    assert runtime.choice.runtime == TORCH
    assert "the cache folder doesn't keep" in caplog.text


def test_a_converted_network_is_kept_and_a_damaged_one_converted_again(tmp_path: Path) -> None:
    memory, network = Memory(tmp_path), _ready(UNet2d(width=4))
    image = _image(2, (1, 32, 48))
    subject = _subject(network)

    def answer() -> Tensor:
        runtime = choose.build_runtime(Choice(OPENVINO, FLOAT32), subject, memory)
        return runtime.run("forward", image, batch=2)

    expected = answer()
    (weights,) = tmp_path.rglob("*.bin")
    kept = weights.stat().st_mtime_ns
    assert torch.equal(answer(), expected)
    assert weights.stat().st_mtime_ns == kept
    weights.write_bytes(weights.read_bytes()[::-1])
    assert torch.equal(answer(), expected)
    assert weights.stat().st_mtime_ns != kept


def test_what_fails_while_it_runs_is_computed_again_by_torch(caplog: pytest.LogCaptureFixture) -> None:
    model = LesionModel(load_card(models_directory() / "medip_unet2d"))
    hu = _image(4, (64, 64)).mul(800).sub(900).numpy().astype("int16")
    lung = hu < 10000
    expected = model.search(hu, lung, (5.0, 2.0, 2.0)).labels

    class Failing:
        choice = Choice(OPENVINO, FLOAT32)

        def run(self, method: str, planes: Tensor, *, batch: int, overlap: int = 0) -> Tensor:
            raise RuntimeFailedError("gone")

    model._runner.use(Failing())
    with caplog.at_level(logging.WARNING):
        assert (model.search(hu, lung, (5.0, 2.0, 2.0)).labels == expected).all()
    assert "a runtime failed, torch goes on: gone" in caplog.text
    assert model.choice.runtime == TORCH


def test_a_guarded_runtime_goes_on_with_torch(caplog: pytest.LogCaptureFixture) -> None:
    network, image = _Threshold(), _image(2, (1, 32, 48))
    plain = TorchRuntime(network, CPU, FLOAT32)
    guarded = Guarded(OpenVinoRuntime(_Threshold(unknown=True), FLOAT32, 1), plain)
    assert guarded.choice.runtime == OPENVINO
    assert torch.equal(guarded.run("forward", image, batch=2), plain.run("forward", image, batch=2))
    assert guarded.choice.runtime == TORCH
    assert "a runtime failed, torch goes on" in caplog.text


def test_lungs_and_lobes_choose_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMNODE_CACHE", str(tmp_path))
    lobe_card, lung_card = installed_lobe_card(), installed_lung_card()
    assert lobe_card is not None
    assert lung_card is not None
    for model in (LobeModel(lobe_card), LungNetwork(lung_card)):
        model.choose_runtime(OPENVINO)
        assert model.choice.runtime == OPENVINO
        assert "remembered" in choose.in_words(model.card.weights.sha256, CPU, OPENVINO)
        assert "not chosen yet" in choose.in_words(model.card.weights.sha256, CPU)
        record = choose.remembered(model.card.weights.sha256, CPU, OPENVINO)
        assert record is not None
        assert record["measured"][str(model.choice)]["dice"] >= choose.AGREEMENT


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: its runtimes can't be seen here")
def test_on_a_gpu_the_same_is_chosen_among_its_runtimes(tmp_path: Path) -> None:
    network, shape = NETWORKS["ensemble"]
    device = torch.device("cuda")
    image = _image(6, shape).to(device)
    plain = TorchRuntime(_ready(network).to(device), device, FLOAT32)
    subject = Subject(network, "2" * 64, device, lambda one: one.run("forward", image, batch=4) > 0, plain)
    chosen = choose_runtime(subject, memory=Memory(tmp_path))
    assert chosen.choice.runtime in (TORCH, FUSED)
    expected = plain.run("forward", image, batch=4) > 0
    assert agreement(chosen.run("forward", image, batch=4) > 0, expected) >= choose.AGREEMENT


def test_dice_of_empty_masks_is_1() -> None:
    empty, some = torch.zeros(4, dtype=torch.bool), torch.tensor([True, True, False, False])
    assert agreement(empty, empty) == 1
    assert agreement(some, empty) == 0
    assert agreement(some, some) == 1
