"""The Marseille pipeline: three networks that share nothing, and lungs of their own."""

from __future__ import annotations

import numpy as np
import torch

from dicomnode.segment.card import Postprocessing
from dicomnode.segment.lesion_rules import touching
from dicomnode.segment.lesions import meanings
from dicomnode.segment.networks.three_nets import ThreeNets
from dicomnode.segment.segmentation import Side
from dicomnode.segment.sides import sides_of


def test_each_output_comes_from_its_own_network() -> None:
    torch.manual_seed(0)
    network = ThreeNets(width=4)
    logits = network(torch.rand(2, 1, 32, 48))
    assert logits.shape == (2, 3, 32, 48)
    for channel, name in enumerate(("lung", "lesion", "consolidation")):
        network.zero_grad()
        logits[:, channel].sum().backward(retain_graph=True)
        moved = {
            key.split(".")[0] for key, p in network.named_parameters() if p.grad is not None and p.grad.any()
        }
        assert moved == {name}


def test_channels_mean_what_the_card_says() -> None:
    own = Postprocessing(0.5, -350, 0.03, 0.5, ("lung", "lesion", "consolidation"))
    logits = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 3, 1, 1)
    lesion, dense, lung = (float(plane) for plane in meanings(logits, own))
    assert lung < lesion < dense
    competing = Postprocessing(0.5, -350, 0.03, 0.5, ("background", "ggo", "high_opacity"))
    lesion, dense = (float(plane) for plane in meanings(logits, competing))
    shares = torch.softmax(torch.tensor([0.0, 1.0, 2.0]), dim=0).tolist()
    assert abs(lesion - (shares[1] + shares[2])) < 1e-6
    assert abs(dense - shares[2] / (shares[1] + shares[2])) < 1e-6


def test_only_parts_that_touch_the_known_lung_are_lung() -> None:
    mask, known = (np.zeros((3, 10, 20), dtype=np.bool_) for _ in range(2))
    mask[:, 2:6, 2:6] = mask[:, 2:6, 12:16] = True  # the second may be bowel
    known[1, 3, 3] = True
    found = touching(mask, known)
    assert found[:, 2:6, 2:6].all() and not found[:, :, 10:].any()
    assert not touching(mask, np.zeros_like(known)).any()


def test_a_larger_lung_takes_the_side_that_is_nearest() -> None:
    sides = np.zeros((2, 12, 20), dtype=np.uint8)
    sides[0, 4:8, 2:8], sides[0, 4:8, 12:18] = Side.RIGHT, Side.LEFT
    lung = np.zeros(sides.shape, dtype=np.bool_)
    lung[0, 3:9, 1:9] = lung[0, 3:9, 11:19] = True
    lung[0, 4:8, 2] = False  # smaller somewhere
    lung[1, 5, 3] = lung[1, 5, 15] = True  # no lung was known here
    found = sides_of(lung, sides)
    assert np.array_equal(found > 0, lung)
    assert set(np.unique(found[0, :, :10])) == {0, Side.RIGHT}
    assert set(np.unique(found[0, :, 10:])) == {0, Side.LEFT}
    assert found[1, 5, 3] == Side.RIGHT and found[1, 5, 15] == Side.LEFT
