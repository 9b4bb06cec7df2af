"""The training loop: epochs, learning rate, averaged weights, validation, checkpoints."""

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

from dicomnode.segment.card import ModelCard
from dicomnode.segment.inference import has_bfloat16
from dicomnode.segment.lesions import meanings
from dicomnode.train.augment import AugmentationSpec, SliceBatch
from dicomnode.train.losses import channels_bce_dice, rmi
from dicomnode.train.moving_average import average_weights
from dicomnode.train.protocol import Protocol
from dicomnode.train.slices import (
    Slice,
    epoch_batches,
    erase_lesions,
    network_planes,
    stack_slices,
    targets,
)
from dicomnode.train.training_folder import append_row

CHECKPOINT_FILE = "checkpoint.pt"
LOG_FILE = "log.csv"
LOG_COLUMNS = ("epoch", "learning_rate", "loss", "validation_loss", "validation_dice", "seconds")


@dataclass
class TrainingState:
    """What a checkpoint holds: training goes on from it as if it had never stopped."""

    network: nn.Module
    average: nn.Module
    """Exponential moving average of the weights: what is validated and exported."""
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    best_dice: float = -1.0
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    plateau_rate: float = 0.0
    """Learning rate of a training that goes by plateaus, and what it goes by."""
    least_loss: float = math.inf
    epochs_above_least: int = 0

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.network.parameters()).device


NUMBERS = (
    "best_dice",
    "epoch",
    "step",
    "seconds",
    "plateau_rate",
    "least_loss",
    "epochs_above_least",
)
"""Fields of the state that are plain numbers."""


def new_state(network: nn.Module, protocol: Protocol, device: str = "cpu") -> TrainingState:
    """State before the first epoch."""
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer: torch.optim.Optimizer
    if protocol.optimizer == "adam":
        optimizer = torch.optim.Adam(
            network.parameters(), lr=protocol.learning_rate, weight_decay=protocol.weight_decay
        )
    else:
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=protocol.learning_rate,
            momentum=protocol.momentum,
            nesterov=protocol.nesterov and protocol.momentum > 0,
            weight_decay=protocol.weight_decay,
        )
    average = copy.deepcopy(network).eval()
    best = copy.deepcopy(average.state_dict())
    return TrainingState(network, average, optimizer, best, plateau_rate=protocol.learning_rate)


def save_state(state: TrainingState, path: Path) -> None:
    """Checkpoint on disk, replaced as a whole."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "best": state.best,
            "numbers": {name: getattr(state, name) for name in NUMBERS},
        },
        partial,
    )
    partial.replace(path)


def restore_state(state: TrainingState, path: Path) -> None:
    """Go on from a checkpoint."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.best = saved["best"]
    for name in NUMBERS:
        setattr(state, name, saved["numbers"][name])


def train_network(
    state: TrainingState,
    positives: list[Slice],
    healthy: list[Slice],
    validation: list[Slice],
    card: ModelCard,
    protocol: Protocol,
    spec: AugmentationSpec,
    out: Path,
    *,
    minutes: float | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> TrainingState:
    """Train until the protocol's epochs, or ``minutes`` of training in all, are over.

    Each epoch draws from its own random generator, so a resumed training repeats an unbroken one. After each
    epoch the averaged weights are scored and checkpoint and log written into ``out``. ``progress`` gets the
    epoch, the part of all training done and the mean loss so far.
    """
    negatives = healthy
    if card.preprocessing.outside_hu is not None:
        negatives = healthy + [erase_lesions(item) for item in positives]
    shape = (protocol.rows, protocol.columns)
    done = fraction_done(state, protocol, minutes, 0.0)
    while state.epoch < protocol.epochs and done < 1:
        started = time.monotonic()
        rng = np.random.default_rng((protocol.seed, state.epoch))
        steps = _steps(positives, negatives, protocol)
        losses: list[float] = []
        batches = epoch_batches(
            positives, negatives, protocol.negatives_per_positive, protocol.batch_size, shape, spec, rng
        )
        for index, batch in enumerate(batches):
            part = (index / steps, time.monotonic() - started)
            done = max(
                fraction_done(state, protocol, minutes, part[1]), (state.epoch + part[0]) / protocol.epochs
            )
            if done >= 1 and losses:
                break
            rate = _learning_rate(state, protocol, state.epoch + part[0], min(done, 1.0))
            losses.append(_step(state, batch, card, rate, protocol))
            if progress is not None:
                progress(state.epoch, min(done, 1.0), sum(losses) / len(losses))
        state.epoch += 1
        loss, dice = score_slices(state.average, validation, card, protocol)
        if dice >= state.best_dice:
            state.best_dice, state.best = dice, copy.deepcopy(state.average.state_dict())
        mind_plateau(state, loss, protocol)
        state.seconds += time.monotonic() - started
        done = fraction_done(state, protocol, minutes, 0.0)
        save_state(state, out / CHECKPOINT_FILE)
        _log(out / LOG_FILE, state, rate, float(np.mean(losses)), loss, dice)
    return state


def score_slices(
    network: nn.Module, items: list[Slice], card: ModelCard, protocol: Protocol
) -> tuple[float, float]:
    """Mean loss, and Dice of the lesion over all voxels at the network's resolution.

    The Dice is 1 if neither side marks anything.
    """
    overlap = total = 0.0
    losses: list[float] = []
    network.eval()
    stride = int(getattr(network, "stride", 1))
    device = next(network.parameters()).device
    size = protocol.micro_batch or protocol.batch_size
    with torch.inference_mode():
        for start in range(0, len(items), size):
            batch = stack_slices(items[start : start + size], stride).to(device)
            logits = _logits(network, batch, card)
            losses.append(float(_loss(logits, batch, card, protocol)))
            lesion = meanings(logits, card.postprocessing)[0]
            found = (lesion >= card.postprocessing.probability_threshold) & (batch.lung > 0.5)
            truth = batch.lesion > 0.5
            overlap += 2 * float((found & truth).sum())
            total += float(found.sum() + truth.sum())
    return float(np.mean(losses)), overlap / total if total else 1.0


def _step(state: TrainingState, batch: SliceBatch, card: ModelCard, rate: float, protocol: Protocol) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.network.train()
    state.optimizer.zero_grad()
    sum_of_losses, count = 0.0, len(batch.lung)
    for part in batch.to(state.device).split(protocol.micro_batch or count):
        loss = _loss(_logits(state.network, part, card), part, card, protocol) * len(part.lung) / count
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss.item()} in epoch {state.epoch}; lower the learning rate"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        sum_of_losses += float(loss.item())
    state.optimizer.step()
    state.step += 1
    decay = min(protocol.average_decay, (1 + state.step) / (10 + state.step))
    average_weights(state.average, state.network, decay)
    return sum_of_losses


def _logits(network: nn.Module, batch: SliceBatch, card: ModelCard) -> Tensor:
    image = network_planes(batch, card.preprocessing).contiguous(memory_format=torch.channels_last)
    device = image.device
    with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
        logits: Tensor = network(image)
    return logits.float()


def _loss(logits: Tensor, batch: SliceBatch, card: ModelCard, protocol: Protocol) -> Tensor:
    target, weight = targets(batch, card.postprocessing.channels)
    if protocol.loss == "rmi":
        return rmi(logits, target, weight, protocol.cross_entropy_share)
    return channels_bce_dice(logits, target, weight, protocol.dice_weight)


def mind_plateau(state: TrainingState, loss: float, protocol: Protocol) -> None:
    """Lower the rate of plateaus when the validation loss hasn't fallen for too long."""
    if loss < state.least_loss:
        state.least_loss, state.epochs_above_least = loss, 0
        return
    state.epochs_above_least += 1
    if state.epochs_above_least > protocol.plateau_patience:
        state.plateau_rate *= protocol.plateau_factor
        state.epochs_above_least = 0


def _steps(positives: list[Slice], negatives: list[Slice], protocol: Protocol) -> int:
    chosen = min(round(len(positives) * protocol.negatives_per_positive), len(negatives))
    return max((len(positives) + chosen) // protocol.batch_size, 1)


def fraction_done(
    state: TrainingState, protocol: Protocol, minutes: float | None, running_seconds: float
) -> float:
    """Part of the training that is over, by epochs, minutes or a rate that has fallen to its end."""
    rounding = 1 + 1e-6  # 1e-3 multiplied four times by 0.1 is a little above 1e-7
    if protocol.schedule == "plateau" and state.plateau_rate <= protocol.smallest_rate * rounding:
        return 1.0
    by_epochs = state.epoch / protocol.epochs
    if minutes is None:
        return by_epochs
    return max(by_epochs, (state.seconds + running_seconds) / (60 * minutes))


def _learning_rate(state: TrainingState, protocol: Protocol, epoch: float, done: float) -> float:
    if protocol.schedule == "plateau":
        return state.plateau_rate
    rise = min((epoch + 0.01) / protocol.warmup_epochs, 1.0) if protocol.warmup_epochs > 0 else 1.0
    fall = max(0.5 * (1 + math.cos(math.pi * done)), 0.001) if protocol.schedule == "cosine" else 1.0
    return protocol.learning_rate * rise * fall


def _log(
    path: Path, state: TrainingState, rate: float, loss: float, validation_loss: float, dice: float
) -> None:
    scores = (f"{value:.5f}" for value in (loss, validation_loss, dice))
    append_row(path, LOG_COLUMNS, (state.epoch, f"{rate:.3g}", *scores, f"{state.seconds:.0f}"))
