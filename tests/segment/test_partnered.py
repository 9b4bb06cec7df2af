"""The ensemble with a partner: when the partner speaks, how loud, and that it sees what it was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dicomnode.segment.card import load_installed_card
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.networks.partnered import PartneredEnsemble
from dicomnode.segment.networks.patch_unet import PatchUNetEnsemble
from dicomnode.segment.networks.unet2d import UNet2d

SMALL = {"width": 8, "levels": 3}


@pytest.fixture
def ensemble() -> PartneredEnsemble:
    torch.manual_seed(3)
    return PartneredEnsemble(2, -1100, 1300, -1350, 1500, 4, **SMALL).eval()


def picture(lung: float) -> Tensor:
    image = torch.rand(2, 2, 32, 48, generator=torch.Generator().manual_seed(1))
    image[:, 1] = 0
    image[:, 1, 4:28, 6:42] = lung
    return image


def test_partner_and_members_are_averaged_where_it_is_not_consolidation(ensemble: PartneredEnsemble) -> None:
    image = picture(1.0)
    with torch.inference_mode():
        members = torch.sigmoid(PatchUNetEnsemble.forward(ensemble, image))
        hu = image[:, :1] * 1300 - 1100
        alone = torch.where(image[:, 1:] == 1, ((hu + 1350) / 1500).clamp(max=1), 0.0)
        own = torch.sigmoid(ensemble.partner(alone))[:, 0]
        share = 0.5 * (1 - members[:, 1])
        found = torch.sigmoid(ensemble(image))
    assert (own - members[:, 0]).abs().max() > 0.1
    torch.testing.assert_close(found[:, 0], (1 - share) * members[:, 0] + share * own, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[:, 1], members[:, 1], atol=1e-5, rtol=1e-4)


def test_the_partner_is_silent_where_nobody_knows_the_lungs(ensemble: PartneredEnsemble) -> None:
    image = picture(0.5)
    with torch.inference_mode():
        torch.testing.assert_close(ensemble(image), PatchUNetEnsemble.forward(ensemble, image))


def test_judges_are_chosen_with_and_without_the_partner(ensemble: PartneredEnsemble) -> None:
    image = picture(1.0)
    with torch.inference_mode():
        everybody = ensemble(image)
        ensemble.choose([0])
        torch.testing.assert_close(
            torch.sigmoid(ensemble(image)), torch.sigmoid(ensemble.members[0](image)), atol=1e-5, rtol=1e-4
        )
        ensemble.choose([0, 1, 2])
        torch.testing.assert_close(ensemble(image), everybody)
    with pytest.raises(ValueError, match="no choice of 2"):
        ensemble.choose([2])


def test_the_partner_of_best_is_medip_as_it_is_shipped() -> None:
    """Same weights, same window, same spacing: alone it says what the other model says."""
    best, medip = (load_installed_card(name) for name in ("best", "medip_unet2d"))
    network, other = LesionModel(best)._network, LesionModel(medip)._network
    assert isinstance(network, PartneredEnsemble) and isinstance(other, UNet2d)
    assert (best.preprocessing.spacing_mm, best.preprocessing.crop_margin_mm) == (
        medip.preprocessing.spacing_mm,
        medip.preprocessing.crop_margin_mm,
    )
    for name, weights in other.state_dict().items():
        shipped = network.partner.state_dict()[name]
        assert np.allclose(shipped.float().numpy(), weights.float().numpy(), rtol=2e-3, atol=1e-4), name
    parameters = best.network.parameters
    for prefix, card in (("", best), ("partner_", medip)):
        window = card.preprocessing
        assert parameters[f"{prefix}low_hu"] == window.window_center_hu - window.window_width_hu / 2
        assert parameters[f"{prefix}range_hu"] == window.window_width_hu
