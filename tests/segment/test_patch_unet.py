"""The U-Net on patches and its ensemble."""

from __future__ import annotations

import pytest
import torch

from dicomnode.segment.networks.patch_unet import PatchUNet, PatchUNetEnsemble


def test_logits_have_the_size_of_the_image() -> None:
    logits = PatchUNet(in_channels=2, out_channels=2, width=8, levels=3)(torch.zeros(3, 2, 24, 40))
    assert logits.shape == (3, 2, 24, 40)


def test_a_size_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        PatchUNet(width=8, levels=3)(torch.zeros(1, 2, 24, 41))


def test_an_ensemble_averages_the_probabilities_of_the_members_chosen() -> None:
    torch.manual_seed(1)
    ensemble = PatchUNetEnsemble(members=3, width=8, levels=3).eval()
    image = torch.rand(2, 2, 16, 24)
    with torch.inference_mode():
        each = torch.stack([torch.sigmoid(member(image)) for member in ensemble.members])
        torch.testing.assert_close(torch.sigmoid(ensemble(image)), each.mean(dim=0), atol=1e-5, rtol=1e-4)
        ensemble.choose([2])
        torch.testing.assert_close(torch.sigmoid(ensemble(image)), each[2], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="no choice of 3"):
        ensemble.choose([3])
