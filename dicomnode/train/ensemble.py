"""Members of an ensemble, one a fold: each never sees its fold's cases, which it alone judges."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.preprocess import network_input
from dicomnode.train.mixture import (
    CONSOLIDATION,
    HU,
    LESION,
    LUNG,
    Example,
    MixtureAugmentation,
    mixture_batch,
)
from dicomnode.train.moving_average import average_weights
from dicomnode.train.protocol import EnsembleProtocol
from dicomnode.train.training_folder import append_row

LOG_COLUMNS = ("epoch", "learning_rate", "loss", "validation_dice", "validation_split_dice", "seconds")


@dataclass
class MemberState:
    """What a member's checkpoint holds."""

    network: nn.Module
    average: nn.Module
    """Exponential moving average of the weights: what is validated and exported."""
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0


def new_member(network: nn.Module, protocol: EnsembleProtocol) -> MemberState:
    """State before the first epoch."""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=protocol.learning_rate, weight_decay=protocol.weight_decay
    )
    return MemberState(network, copy.deepcopy(network).eval(), optimizer)


def save_member(state: MemberState, path: Path) -> None:
    """Checkpoint on disk, replaced as a whole."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "numbers": (state.epoch, state.step, state.seconds),
        },
        partial,
    )
    partial.replace(path)


def restore_member(state: MemberState, path: Path) -> None:
    """Go on from a checkpoint."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.epoch, state.step, state.seconds = saved["numbers"]


def train_member(
    state: MemberState,
    training: list[Example],
    validation: list[Example],
    preprocessing: Preprocessing,
    protocol: EnsembleProtocol,
    checkpoint: Path,
    *,
    member: int,
    low_precision: bool,
    minutes: float | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> MemberState:
    """Train one member until the protocol's epochs, or ``minutes`` in all, are over.

    Examples with an expert's split count ``split_repeats`` times in an epoch. The learning rate rises
    linearly, then falls as a half cosine. The last averaged weights are the result: the fold's cases choose
    nothing, they only show in the log (CSV beside the checkpoint). ``progress`` gets the part done and the
    epoch's mean loss.
    """
    spec, shape = MixtureAugmentation(), (protocol.rows, protocol.columns)
    repeated = [e for e in training for _ in range(protocol.split_repeats if e.split_weight == 1 else 1)]
    steps = max(len(repeated) // protocol.batch_size, 1)
    rate, done = 0.0, _done(state, protocol, minutes)
    while done < 1:
        started = time.monotonic()
        rng = np.random.default_rng((protocol.seed, member, state.epoch))
        order = rng.permutation(len(repeated))
        losses: list[float] = []
        for index in range(steps):
            chosen = order[index * protocol.batch_size : (index + 1) * protocol.batch_size]
            batch = mixture_batch([repeated[i] for i in chosen], shape, spec, rng)
            done = max(
                _done(state, protocol, minutes, time.monotonic() - started),
                (state.epoch + index / steps) / protocol.epochs,
            )
            rate = _learning_rate(protocol, state.epoch + index / steps, min(done, 1.0))
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            state.network.train()
            image = network_input(batch.hu, batch.lung, preprocessing)
            with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
                logits = state.network(image.contiguous(memory_format=torch.channels_last))
            loss = mixture_loss(
                logits.float(),
                batch.lesion,
                batch.consolidation,
                (batch.lung > 0).float(),
                batch.split_weight,
                protocol,
            )
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss.item()}; lower the learning rate")
            state.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
            state.optimizer.step()
            state.step += 1
            decay = min(protocol.average_decay, (1 + state.step) / (10 + state.step))
            average_weights(state.average, state.network, decay)
            losses.append(float(loss.item()))
            if progress is not None:
                progress(min(done, 1.0), float(np.mean(losses)))
        state.epoch += 1
        state.seconds += time.monotonic() - started
        done = _done(state, protocol, minutes)
        last = done >= 1
        dice = (
            examples_dice(state.average, validation, preprocessing, low_precision)
            if last or state.epoch % 5 == 0
            else (float("nan"), float("nan"))
        )
        save_member(state, checkpoint)
        _log(checkpoint.with_suffix(".csv"), state, rate, float(np.mean(losses)), dice)
    return state


def mixture_loss(
    logits: Tensor,
    lesion: Tensor,
    consolidation: Tensor,
    inside: Tensor,
    split_weight: Tensor,
    protocol: EnsembleProtocol,
) -> Tensor:
    """Cross-entropy and Dice of the lesion, and the split's cross-entropy where a lesion is.

    ``logits`` (slices, 2, rows, columns), masks (slices, rows, columns), ``split_weight`` (slices).
    """
    bce = F.binary_cross_entropy_with_logits(logits[:, 0], lesion, reduction="none")
    bce = (bce * inside).sum() / inside.sum().clamp(min=1)
    probability = torch.sigmoid(logits[:, 0]) * inside
    dice = 1 - (2 * (probability * lesion).sum() + 1) / (probability.sum() + lesion.sum() + 1)
    weight = lesion * split_weight[:, None, None]
    split = F.binary_cross_entropy_with_logits(logits[:, 1], consolidation.clamp(0, 1), reduction="none")
    split = (split * weight).sum() / weight.sum().clamp(min=50)
    return bce + protocol.dice_weight * dice + protocol.split_loss_weight * split


def examples_dice(
    network: nn.Module, items: list[Example], preprocessing: Preprocessing, low_precision: bool
) -> tuple[float, float]:
    """Dice over all voxels of lesions, and of consolidation where an expert marked it, at one half."""
    sums = np.zeros((2, 2))
    network.eval()
    stride = int(getattr(network, "stride", 1))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
        for item in items:
            planes = item.planes
            known = planes[LUNG] > 0.5
            lung = known.float() if item.lung_known else torch.full_like(planes[LUNG], 0.5)
            image = network_input(planes[HU][None], lung[None], preprocessing)
            rows, columns = planes.shape[1:]
            image = F.pad(image, (0, -columns % stride, 0, -rows % stride))
            found = network(image)[0, :, :rows, :columns] > 0
            lesion = found[0] & known
            truth = planes[LESION] > 0.5
            sums[0] += float((lesion & truth).sum()), float(lesion.sum() + truth.sum())
            if item.split_weight == 1:
                dense, truth = lesion & found[1], planes[CONSOLIDATION] > 0.5
                sums[1] += float((dense & truth).sum()), float(dense.sum() + truth.sum())
    lesion_dice, split_dice = (2 * hit / total if total else float("nan") for hit, total in sums)
    return lesion_dice, split_dice


def _done(
    state: MemberState, protocol: EnsembleProtocol, minutes: float | None, running_seconds: float = 0.0
) -> float:
    by_epochs = state.epoch / protocol.epochs
    return (
        by_epochs if minutes is None else max(by_epochs, (state.seconds + running_seconds) / (60 * minutes))
    )


def _learning_rate(protocol: EnsembleProtocol, epoch: float, done: float) -> float:
    rise = min((epoch + 0.01) / protocol.warmup_epochs, 1.0) if protocol.warmup_epochs > 0 else 1.0
    return protocol.learning_rate * rise * max(0.5 * (1 + math.cos(math.pi * done)), 0.002)


def _log(path: Path, state: MemberState, rate: float, loss: float, dice: tuple[float, float]) -> None:
    scores = ["" if math.isnan(value) else f"{value:.5f}" for value in dice]
    row = (state.epoch, f"{rate:.6f}", f"{loss:.5f}", *scores, f"{state.seconds:.0f}")
    append_row(path, LOG_COLUMNS, row)
