"""The training loop of the lobe network; small enough for two CPU cores."""

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

from dicomnode.segment.lung_shape import Shape3, without_absent
from dicomnode.train.lobe_shapes import LungShape, lung_shapes, phantom_case, sample, varied_sample
from dicomnode.train.moving_average import average_weights
from dicomnode.train.training_folder import append_row

CHECKPOINT_FILE = "checkpoint.pt"
LOG_FILE = "log.csv"
LOG_COLUMNS = ("epoch", "learning_rate", "loss", "validation_dice", "seconds")
PHANTOM_PATIENTS = 1000
SMALLEST_LEARNING_RATE = 0.01

Progress = Callable[[int, float, float], None]
"""Gets the epoch, the share of the training that is done and the loss."""


@dataclass(frozen=True)
class LobeProtocol:
    """Numbers of one training; ``phantoms`` is how many phantom lungs join the real ones each epoch."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_epochs: float
    average_decay: float
    dice_weight: float
    phantoms: int
    validate_every: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.validate_every < 1:
            raise ValueError("epochs, batch_size and validate_every must be positive")
        if not 0 <= self.average_decay < 1:
            raise ValueError("average_decay must lie in [0, 1)")


@dataclass
class LobeTraining:
    """What a checkpoint holds. ``average`` is what is validated and exported."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    best_dice: float = -1.0
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def start(cls, network: nn.Module, protocol: LobeProtocol) -> LobeTraining:
        """Before the first epoch."""
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=protocol.learning_rate, weight_decay=protocol.weight_decay
        )
        average = copy.deepcopy(network).eval()
        return cls(network, average, optimizer, copy.deepcopy(average.state_dict()))

    def save(self, path: Path) -> None:
        """Checkpoint on disk, replaced as a whole."""
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "best": self.best,
                "numbers": (self.best_dice, self.epoch, self.step, self.seconds),
            },
            partial,
        )
        partial.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.best = saved["best"]
        self.best_dice, self.epoch, self.step, self.seconds = saved["numbers"]


def train_lobes(
    state: LobeTraining,
    training: list[LungShape],
    validation: list[LungShape],
    grid: Shape3,
    protocol: LobeProtocol,
    out: Path,
    *,
    minutes: float | None = None,
    progress: Progress | None = None,
) -> LobeTraining:
    """Train until the protocol's epochs, or ``minutes`` of training in all, are over.

    Each epoch shows every lung once, varied anew from a random generator of its own, so that a resumed
    training repeats an unbroken one. The learning rate rises linearly and falls as a half cosine.
    """
    start = time.monotonic() - state.seconds
    while state.epoch < protocol.epochs:
        random = np.random.default_rng((protocol.seed, state.epoch))
        shapes = [*training, *_phantoms(protocol.phantoms, random)]
        order = random.permutation(len(shapes))
        batches = [
            [shapes[i] for i in order[first : first + protocol.batch_size]]
            for first in range(0, len(order), protocol.batch_size)
        ]
        losses, rate = [], 0.0
        for index, batch in enumerate(batches):
            elapsed = (time.monotonic() - start) / 60
            done = (state.epoch + index / len(batches)) / protocol.epochs
            done = min(max(done, elapsed / minutes if minutes else 0.0), 1.0)
            rate = _rate(protocol, state.epoch + index / len(batches), done)
            losses.append(_step(state, batch, grid, protocol, rate, random))
            if progress is not None:
                progress(state.epoch, done, losses[-1])
        state.epoch += 1
        state.seconds = time.monotonic() - start
        over = state.epoch == protocol.epochs or (minutes is not None and state.seconds >= 60 * minutes)
        if over or state.epoch % protocol.validate_every == 0:
            dice = mean_dice(state.average, validation, grid)
            if dice > state.best_dice:
                state.best_dice, state.best = dice, copy.deepcopy(state.average.state_dict())
            row = (state.epoch, rate, float(np.mean(losses)), dice, state.seconds)
            append_row(out / LOG_FILE, LOG_COLUMNS, [f"{value:.6g}" for value in row])
            state.save(out / CHECKPOINT_FILE)
        if over:
            break
    return state


def lobe_loss(logits: Tensor, target: Tensor, dice_weight: float) -> Tensor:
    """Cross-entropy over the lung plus ``dice_weight`` times the mean Dice loss of the lobes.

    ``logits`` and ``target`` (batch, 3, z, y, x); a target's shares add up to the share that is lung.
    """
    share = torch.softmax(logits, dim=1)
    inside = target.sum(dim=1, keepdim=True)
    entropy = -(target * torch.log_softmax(logits, dim=1).clamp(min=-50)).sum() / inside.sum()
    axes = (2, 3, 4)
    hit, total = (share * target).sum(axes), (share * inside).sum(axes) + target.sum(axes)
    there = target.sum(axes) > 0
    dice = (2 * hit[there] + 1) / (total[there] + 1)
    return entropy + dice_weight * (1 - dice.mean())


@torch.no_grad()
def mean_dice(network: nn.Module, shapes: list[LungShape], grid: Shape3) -> float:
    """Mean Dice over the lobes of all shapes on the network's grid."""
    scores = []
    for shape in shapes:
        image, target = sample(shape, grid)
        logits = without_absent(network(image[None]), [shape.side])[0]
        found = torch.nn.functional.one_hot(logits.argmax(dim=0), 3).movedim(-1, 0) * target.sum(dim=0)
        dice = 2 * (found * target).sum((1, 2, 3)) / (found.sum((1, 2, 3)) + target.sum((1, 2, 3)))
        scores += [float(d) for d, there in zip(dice, target.sum((1, 2, 3)) > 0, strict=True) if there]
    return float(np.mean(scores))


def _step(
    state: LobeTraining,
    batch: list[LungShape],
    grid: Shape3,
    protocol: LobeProtocol,
    rate: float,
    random: np.random.Generator,
) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    pairs = [varied_sample(shape, grid, random) for shape in batch]
    images = torch.stack([image for image, _ in pairs]).contiguous(memory_format=torch.channels_last_3d)
    targets = torch.stack([target for _, target in pairs])
    state.network.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = state.network(images)
    loss = lobe_loss(without_absent(logits.float(), [s.side for s in batch]), targets, protocol.dice_weight)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimizer.step()
    state.step += 1
    decay = min(protocol.average_decay, state.step / (state.step + 10))
    average_weights(state.average, state.network, decay)
    return float(loss.detach())


def _rate(protocol: LobeProtocol, epoch: float, done: float) -> float:
    warm = min(epoch / protocol.warmup_epochs, 1.0) if protocol.warmup_epochs else 1.0
    fall = max(0.5 * (1 + math.cos(math.pi * done)), SMALLEST_LEARNING_RATE)
    return protocol.learning_rate * max(warm, 0.01) * fall


def _phantoms(count: int, random: np.random.Generator) -> list[LungShape]:
    found: list[LungShape] = []
    while len(found) < count:
        found += lung_shapes(phantom_case(int(random.integers(PHANTOM_PATIENTS)), 5.0))
    return found[:count]
