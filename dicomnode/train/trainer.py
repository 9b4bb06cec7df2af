"""The training loop: epochs, learning rate, averaged weights, validation, checkpoints."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.preprocess import normalise
from dicomnode.train.augment import AugmentationSpec
from dicomnode.train.losses import bce_dice
from dicomnode.train.protocol import Protocol
from dicomnode.train.slices import Slice, epoch_batches, erase_lesions, stack_slices

CHECKPOINT_FILE = "checkpoint.pt"
LOG_FILE = "log.csv"
LOG_COLUMNS = ("epoch", "learning_rate", "loss", "validation_dice", "seconds")


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


def new_state(network: nn.Module, protocol: Protocol) -> TrainingState:
    """State before the first epoch."""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=protocol.learning_rate,
        momentum=protocol.momentum,
        nesterov=True,
        weight_decay=protocol.weight_decay,
    )
    average = copy.deepcopy(network).eval()
    return TrainingState(network, average, optimizer, copy.deepcopy(average.state_dict()))


def save_state(state: TrainingState, path: Path) -> None:
    """Checkpoint on disk, replaced as a whole."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "best": state.best,
            "best_dice": state.best_dice,
            "epoch": state.epoch,
            "step": state.step,
            "seconds": state.seconds,
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
    state.best_dice, state.epoch = saved["best_dice"], saved["epoch"]
    state.step, state.seconds = saved["step"], saved["seconds"]


def train_network(
    state: TrainingState,
    positives: list[Slice],
    healthy: list[Slice],
    validation: list[Slice],
    preprocessing: Preprocessing,
    protocol: Protocol,
    out: Path,
    *,
    minutes: float | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> TrainingState:
    """Train until the protocol's epochs, or ``minutes`` of training in all, are over.

    The learning rate rises linearly, then falls as a half cosine over whichever of the two ends first. Each
    epoch draws from its own random generator, so a resumed training repeats an unbroken one. After each epoch
    the averaged weights are scored and checkpoint and log written into ``out``. ``progress`` gets the epoch,
    the part of all training done and the mean loss so far.
    """
    negatives = healthy + [erase_lesions(item) for item in positives]
    spec, shape = AugmentationSpec(), (protocol.rows, protocol.columns)
    done = _fraction_done(state, protocol, minutes, 0.0)
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
                _fraction_done(state, protocol, minutes, part[1]), (state.epoch + part[0]) / protocol.epochs
            )
            rate = _learning_rate(protocol, state.epoch + part[0], min(done, 1.0))
            image = normalise(batch.hu, batch.lung > 0.5, preprocessing)
            losses.append(_step(state, image, batch.lesion, batch.lung, rate, protocol))
            if progress is not None:
                progress(state.epoch, min(done, 1.0), sum(losses) / len(losses))
        state.epoch += 1
        dice = slices_dice(state.average, validation, preprocessing)
        if dice >= state.best_dice:
            state.best_dice, state.best = dice, copy.deepcopy(state.average.state_dict())
        state.seconds += time.monotonic() - started
        done = _fraction_done(state, protocol, minutes, 0.0)
        save_state(state, out / CHECKPOINT_FILE)
        _log(out / LOG_FILE, state, rate, float(np.mean(losses)), dice)
    return state


def slices_dice(
    network: nn.Module, items: list[Slice], preprocessing: Preprocessing, threshold: float = 0.5
) -> float:
    """Dice over all voxels of some slices at the network's spacing; 1 if neither side marks anything."""
    overlap = total = 0.0
    network.eval()
    stride = int(getattr(network, "stride", 1))
    with torch.inference_mode():
        for start in range(0, len(items), 8):
            batch = stack_slices(items[start : start + 8], stride)
            image = normalise(batch.hu, batch.lung > 0.5, preprocessing)[:, None]
            probability = torch.sigmoid(network(image)[:, 0])
            found = (probability >= threshold) & (batch.lung > 0.5)
            truth = batch.lesion > 0.5
            overlap += 2 * float((found & truth).sum())
            total += float(found.sum() + truth.sum())
    return overlap / total if total else 1.0


def _step(
    state: TrainingState, image: Tensor, lesion: Tensor, lung: Tensor, rate: float, protocol: Protocol
) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.network.train()
    logits = state.network(image[:, None].contiguous(memory_format=torch.channels_last))[:, 0]
    loss = bce_dice(logits, lesion, lung, protocol.dice_weight)
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"the loss became {loss.item()} in epoch {state.epoch}; lower the learning rate"
        )
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.step += 1
    _average(state, min(protocol.average_decay, (1 + state.step) / (10 + state.step)))
    return float(loss.item())


def _average(state: TrainingState, decay: float) -> None:
    current = state.network.state_dict()
    for name, value in state.average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])


def _steps(positives: list[Slice], negatives: list[Slice], protocol: Protocol) -> int:
    chosen = min(round(len(positives) * protocol.negatives_per_positive), len(negatives))
    return max((len(positives) + chosen) // protocol.batch_size, 1)


def _fraction_done(
    state: TrainingState, protocol: Protocol, minutes: float | None, running_seconds: float
) -> float:
    by_epochs = state.epoch / protocol.epochs
    if minutes is None:
        return by_epochs
    return max(by_epochs, (state.seconds + running_seconds) / (60 * minutes))


def _learning_rate(protocol: Protocol, epoch: float, done: float) -> float:
    rise = min((epoch + 0.01) / protocol.warmup_epochs, 1.0) if protocol.warmup_epochs > 0 else 1.0
    return protocol.learning_rate * rise * max(0.5 * (1 + math.cos(math.pi * done)), 0.001)


def _log(path: Path, state: TrainingState, rate: float, loss: float, dice: float) -> None:
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(LOG_COLUMNS)
        writer.writerow((state.epoch, f"{rate:.6f}", f"{loss:.5f}", f"{dice:.5f}", f"{state.seconds:.0f}"))
