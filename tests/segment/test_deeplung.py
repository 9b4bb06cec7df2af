"""DeepLung: its parts, its equation, and windows that share what they can."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.inference import NetworkRunner
from dicomnode.segment.networks.deeplung import ConvLSTM, DeepLung
from dicomnode.segment.preprocess import Crop, network_input, resample
from dicomnode.segment.runtimes.torch_runtime import TorchRuntime

PREPROCESSING = Preprocessing(-212, 1624, crop="body", rows=24, columns=32, context_slices=5)
CROP = Crop(2, 38, 3, 51)
SPACING = (1.0, 1.0)


def _network() -> DeepLung:
    torch.manual_seed(0)
    network = DeepLung(growth=4, layers=2, hidden=4)
    with torch.no_grad():  # statistics that aren't those of a fresh network
        network.train()(torch.rand(4, 11, 24, 32))
    return network.eval()


def _volume(slices: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 200, (slices, 40, 54)).astype(np.int16)
    lung = np.zeros(hu.shape, dtype=np.bool_)
    lung[2:-1, 8:30, 10:40] = True
    lung[slices // 2] = False  # the network needs this slice nevertheless
    return hu, lung


def _runner(network: nn.Module) -> NetworkRunner:
    runner = NetworkRunner(network, PREPROCESSING, torch.device("cpu"))
    runner.use(TorchRuntime(network, torch.device("cpu"), "float32"))
    return runner


@pytest.mark.parametrize("slices", [6, 19])
def test_windows_that_share_what_they_can_give_what_each_alone_gives(slices: int) -> None:
    network = _network()
    hu, lung = _volume(slices)
    image = torch.from_numpy(hu[:, *CROP.slices].astype(np.float32))
    planes = network_input(resample(image, (24, 32)), torch.ones(slices, 24, 32), PREPROCESSING)[:, 0]
    found = {
        int(index): logits[row]
        for chosen, logits in _runner(network).logits(hu, lung, CROP, SPACING, 4)
        for row, index in enumerate(chosen)
    }
    assert sorted(found) == list(range(2, slices - 1))
    for index, logits in found.items():
        window = planes[np.clip(np.arange(index - 5, index + 6), 0, slices - 1)]
        with torch.inference_mode():
            alone = network(window[None])[0]
        torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-5)


def test_no_slice_is_encoded_twice_but_the_repeated_ends() -> None:
    network = _network()
    encoded: list[int] = []
    encode = network.encode
    network.encode = lambda slices: (encoded.append(len(slices)), encode(slices))[1]  # type: ignore[method-assign,assignment]
    hu, lung = _volume(30)
    list(_runner(network).logits(hu, lung, CROP, SPACING, 4))
    assert 27 + 2 * 5 <= sum(encoded) < 27 + 2 * 5 + 4  # the first batch is filled up


def test_the_batch_size_does_not_change_the_logits() -> None:
    network = _network()
    hu, lung = _volume(12)
    results = [
        torch.cat([logits for _, logits in _runner(network).logits(hu, lung, CROP, SPACING, size)])
        for size in (1, 3, 16)
    ]
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], atol=1e-5, rtol=1e-5)


def test_alpha_decides_between_the_branches() -> None:
    network = _network()
    slices = torch.rand(2, 11, 24, 32)
    bias = network.attention_head[-1].bias
    assert isinstance(bias, torch.Tensor)
    with torch.inference_mode():
        bias.fill_(1e4)
        torch.testing.assert_close(network(slices), network._main(slices[:, 5:6]))
        bias.fill_(-1e4)
        other = slices.clone()
        other[:, 5] += 1e-9  # the main branch is out of the game
        drives = network.lstm.drive(slices.reshape(22, 1, 24, 32)).reshape(2, 11, -1, 24, 32).unbind(1)
        attention = network.attention_segmentation(network.lstm.run(list(drives)))
        torch.testing.assert_close(network(slices), attention)


def test_the_lstm_follows_its_equations() -> None:
    torch.manual_seed(1)
    lstm = ConvLSTM(1, 2)
    slices = torch.rand(3, 1, 1, 6, 6)
    state = memory = torch.zeros(1, 2, 6, 6)
    with torch.inference_mode():
        for image in slices:
            gates = lstm.from_input(image) + lstm.from_state(state)
            enter, forget, out, candidate = gates[:, 0:2], gates[:, 2:4], gates[:, 4:6], gates[:, 6:8]
            memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(candidate)
            state = torch.sigmoid(out) * torch.tanh(memory)
        torch.testing.assert_close(lstm.run([lstm.drive(image) for image in slices]), state)


def test_every_slice_of_the_window_counts_and_their_order() -> None:
    network = _network()
    slices = torch.rand(1, 11, 24, 32)
    with torch.inference_mode():
        before = network(slices)
        for index in range(11):
            changed = slices.clone()
            changed[:, index] = 0
            assert not torch.equal(network(changed), before)
        assert not torch.allclose(network(slices.flip(1)), before)


def test_heads_are_two_blocks_of_convolution_normalisation_and_leaky_relu_then_a_1x1() -> None:
    network = DeepLung(growth=4, layers=2, hidden=4)
    for head in (network.main_head, network.attention_segmentation, network.attention_head):
        kinds = [type(module) for module in head]
        assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * 2 + [nn.Conv2d]
        assert [m.kernel_size for m in head if isinstance(m, nn.Conv2d)] == [(3, 3), (3, 3), (1, 1)]


def test_another_number_of_slices_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 11 slices, got 9"):
        DeepLung(growth=4, layers=2, hidden=4)(torch.zeros(1, 9, 16, 16))


def test_memory_that_ends_halves_the_batch_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    network = _network()
    hu, lung = _volume(12)
    expected = torch.cat([logits for _, logits in _runner(network).logits(hu, lung, CROP, SPACING, 8)])
    decode = network.decode

    def small(encoded: torch.Tensor) -> torch.Tensor:
        if len(encoded) > 12:
            raise torch.OutOfMemoryError("too much")
        return decode(encoded)

    network.decode = small  # type: ignore[method-assign]
    found = torch.cat([logits for _, logits in _runner(network).logits(hu, lung, CROP, SPACING, 8)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert "trying 2" in caplog.text


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    network = _network()

    def broken(encoded: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such kernel")

    network.decode = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="no such kernel"):
        list(_runner(network).logits(*_volume(8), CROP, SPACING, 4))
