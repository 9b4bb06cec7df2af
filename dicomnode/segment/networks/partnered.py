"""An ensemble of U-Nets on patches with a partner of another kind, whose errors differ from theirs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dicomnode.segment.networks.patch_unet import PatchUNetEnsemble, logit
from dicomnode.segment.networks.unet2d import UNet2d

KNOWN = 0.75
"""The lung channel is 1 in a lung that somebody knows, one half everywhere if nobody does."""


class PartneredEnsemble(PatchUNetEnsemble):
    """Patch U-Nets and a partner, a U-Net that sees nothing but lungs: it speaks as loud as all of them.

    The partner's window, and -3024 HU outside the lung, are computed from the ensemble's input. It is silent
    where nobody knows the lungs; and it speaks the less of a pixel the more the members take it for
    consolidation, for dense tissue at the edge of what it sees is what it can't tell from none.

    Parameters
    ----------
    members, parameters:
        As of :class:`~dicomnode.segment.networks.patch_unet.PatchUNetEnsemble`; two channels in, two out.
    low_hu, range_hu:
        Where the window of the input begins, and how many HU it spans.
    partner_low_hu, partner_range_hu, partner_width:
        The same of the partner, and the channels of its first convolutions.
    """

    def __init__(
        self,
        members: int,
        low_hu: int,
        range_hu: int,
        partner_low_hu: int,
        partner_range_hu: int,
        partner_width: int,
        **parameters: int,
    ) -> None:
        super().__init__(members, **parameters)
        self.partner = UNet2d(width=partner_width)
        self.stride = max(self.stride, self.partner.stride)
        self._scale = range_hu / partner_range_hu
        self._offset = (low_hu - partner_low_hu) / partner_range_hu
        self._partner_speaks = True

    def choose(self, members: Sequence[int]) -> None:
        """Average these members only; the partner is the one after the last."""
        partner = len(self.members)
        super().choose([member for member in members if member != partner])
        self._partner_speaks = partner in members

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, 2, rows, columns) of an image (batch, 2, rows, columns): picture and lungs."""
        logits = super().forward(image)
        if not self._partner_speaks:
            return logits
        inside = (image[:, 1:] > KNOWN).to(image.dtype)
        picture = (image[:, :1] * self._scale + self._offset).clamp(0, 1) * inside
        other = torch.sigmoid(self.partner(picture).float())
        lesion, consolidation = torch.sigmoid(logits[:, :1]), torch.sigmoid(logits[:, 1:])
        share = 0.5 * inside.amax(dim=(1, 2, 3), keepdim=True).float() * (1 - consolidation)
        lesion = lesion + share * (other - lesion)
        return torch.cat((logit(lesion), logits[:, 1:]), dim=1)
