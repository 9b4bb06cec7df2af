"""The training loop of the lung network; small enough for one CPU core."""

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

from dicomnode.segment.inference import has_bfloat16
from dicomnode.segment.lung_input import network_input
from dicomnode.train.augment import AugmentationSpec
from dicomnode.train.lung_cases import LungCase
from dicomnode.train.lung_samples import draw_batch
from dicomnode.train.moving_average import average_weights
from dicomnode.train.trainer import CHECKPOINT_FILE, LOG_FILE, TrainingState, save_state
from dicomnode.train.training_folder import append_row

LOG_COLUMNS = ("epoch", "learning_rate", "loss", "validation_dice", "validation_airless_kept", "seconds")
AIRLESS_WEIGHT = 3.0
"""Weight of a pixel that was made airless against any other."""

VALIDATION_BATCHES = 8
STEADY = AugmentationSpec(
    smallest_scale=1.0,
    largest_scale=1.0,
    stretch=0.0,
    rotation_degrees=0.0,
    shift=0.0,
    flip=False,
    hu_offset=0.0,
    hu_slope=0.0,
    noise_hu=0.0,
    kernel=0.0,
    lung_jitter=0.0,
)
"""No variation: slices of validation cases as they are."""

Progress = Callable[[int, float, float], None]
"""Gets the epoch, the share of the training that is done and the loss."""


@dataclass(frozen=True)
class LungProtocol:
    """Numbers of one training: ``epochs`` of ``steps`` batches; ``phantoms`` patients join the real ones."""

    seed: int
    epochs: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    average_decay: float
    dice_weight: float
    phantoms: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if min(self.epochs, self.steps, self.batch_size, self.rows, self.columns) < 1:
            raise ValueError("epochs, steps, batch_size, rows and columns must be positive")
        if not 0 <= self.average_decay < 1:
            raise ValueError("average_decay must lie in [0, 1)")

    @property
    def shape(self) -> tuple[int, int]:
        """Canvas of a slice."""
        return self.rows, self.columns


def start_training(network: nn.Module, protocol: LungProtocol) -> TrainingState:
    """State before the first epoch."""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=protocol.learning_rate, weight_decay=protocol.weight_decay
    )
    average = copy.deepcopy(network).eval()
    return TrainingState(network, average, optimizer, copy.deepcopy(average.state_dict()))


def train_lungs(
    state: TrainingState,
    training: list[LungCase],
    validation: list[LungCase],
    planes_mm: tuple[float, ...],
    protocol: LungProtocol,
    spec: AugmentationSpec,
    out: Path,
    *,
    minutes: float | None = None,
    progress: Progress | None = None,
) -> TrainingState:
    """Train until the protocol's epochs, or ``minutes`` of training in all, are over.

    Each epoch draws from a random generator of its own, so that a resumed training repeats an unbroken one.
    The learning rate rises linearly and falls as a half cosine. The weights that are kept are those of the
    epoch with the best mean of Dice and airless lung kept in the validation slices.
    """
    judged = _validation_batches(validation, planes_mm, protocol)
    before = state.seconds
    start = time.monotonic()
    done = state.epoch / protocol.epochs
    while done < 1:
        rng = np.random.default_rng((protocol.seed, state.epoch))
        losses: list[float] = []
        rate = 0.0
        for index in range(protocol.steps):
            elapsed = before + time.monotonic() - start
            done = max(
                (state.epoch + index / protocol.steps) / protocol.epochs,
                elapsed / (60 * minutes) if minutes else 0.0,
            )
            if done >= 1 and losses:
                break
            rate = _rate(protocol, state.step, min(done, 1.0))
            batch = draw_batch(training, planes_mm, protocol.batch_size, protocol.shape, spec, rng)
            losses.append(_step(state, batch, protocol, rate))
            if progress is not None:
                progress(state.epoch, min(done, 1.0), float(np.mean(losses)))
        state.epoch += 1
        dice, kept = score_batches(state.average, judged)
        if (dice + kept) / 2 > state.best_dice:
            state.best_dice, state.best = (dice + kept) / 2, copy.deepcopy(state.average.state_dict())
        state.seconds = before + time.monotonic() - start
        done = max(done, state.epoch / protocol.epochs)
        save_state(state, out / CHECKPOINT_FILE)
        row = (state.epoch, rate, float(np.mean(losses)), dice, kept, state.seconds)
        append_row(out / LOG_FILE, LOG_COLUMNS, [f"{value:.6g}" for value in row])
    return state


def lung_loss(logits: Tensor, lung: Tensor, airless: Tensor, dice_weight: float) -> Tensor:
    """Cross-entropy, pixels made airless weighing more, plus ``dice_weight`` times the batch's Dice loss.

    All tensors have the shape (slices, rows, columns).
    """
    weight = 1 + (AIRLESS_WEIGHT - 1) * airless
    entropy = F.binary_cross_entropy_with_logits(logits, lung, reduction="none")
    found = torch.sigmoid(logits)
    dice = (2 * (found * lung).sum() + 1) / (found.sum() + lung.sum() + 1)
    return (entropy * weight).sum() / weight.sum() + dice_weight * (1 - dice)


@torch.inference_mode()
def score_batches(network: nn.Module, batches: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[float, float]:
    """Dice over all pixels, and the share kept of the lung that was made airless."""
    network.eval()
    hit = total = kept = airless = 0.0
    for hu, lung, dense in batches:
        found = _logits(network, hu) > 0
        truth, marked = lung > 0.5, dense > 0.5
        hit += 2 * float((found & truth).sum())
        total += float(found.sum() + truth.sum())
        kept += float((found & marked).sum())
        airless += float(marked.sum())
    return hit / max(total, 1.0), kept / max(airless, 1.0)


def _validation_batches(
    cases: list[LungCase], planes_mm: tuple[float, ...], protocol: LungProtocol
) -> list[tuple[Tensor, Tensor, Tensor]]:
    rng = np.random.default_rng(protocol.seed)
    return [
        draw_batch(cases, planes_mm, protocol.batch_size, protocol.shape, STEADY, rng)
        for _ in range(VALIDATION_BATCHES)
    ]


def _logits(network: nn.Module, hu: Tensor) -> Tensor:
    image = network_input(hu).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(image.device)):
        logits: Tensor = network(image)
    return logits[:, 0].float()


def _step(
    state: TrainingState, batch: tuple[Tensor, Tensor, Tensor], protocol: LungProtocol, rate: float
) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.network.train()
    hu, lung, airless = batch
    loss = lung_loss(_logits(state.network, hu), lung, airless, protocol.dice_weight)
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"the loss became {loss.item()} in epoch {state.epoch}; lower the learning rate"
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimizer.step()
    state.step += 1
    decay = min(protocol.average_decay, state.step / (state.step + 10))
    average_weights(state.average, state.network, decay)
    return float(loss.detach())


def _rate(protocol: LungProtocol, step: int, done: float) -> float:
    rise = min((step + 1) / protocol.warmup_steps, 1.0) if protocol.warmup_steps else 1.0
    return protocol.learning_rate * rise * max(0.5 * (1 + math.cos(math.pi * done)), 0.005)
