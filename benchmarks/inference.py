"""Runtimes side by side: every model on slices of a chest CT, alone and beside a busy process.

    python -m benchmarks.inference [--ct FOLDER] [--quick] [--model NAME ...]

Rounds alternate between the runtimes, so that a machine's load falls on all of them. Printed are medians of
wall and processor milliseconds a slice, and the Dice of the masks with those of torch in float32 as it comes.
The lobes' network sees two lungs, not slices: a "slice" is one of them there. At the end the search for
lesions is timed from HU to labels.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.series import find_series
from dicomnode.segment.card import installed_models, load_installed_card
from dicomnode.segment.grid import WorkGrid
from dicomnode.segment.inference import run_network
from dicomnode.segment.lesions import BATCH_SLICES, LesionModel, meanings
from dicomnode.segment.lobe_card import installed_lobe_card
from dicomnode.segment.lobes import LobeModel
from dicomnode.segment.lung_card import installed_lung_card
from dicomnode.segment.lung_input import in_plane
from dicomnode.segment.lung_network import LungNetwork
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.preprocess import choose_crop, input_shape, resample
from dicomnode.segment.runtimes.choose import AUTO, Subject, agreement, build_runtime, reference_runtime
from dicomnode.segment.runtimes.memory import Memory
from dicomnode.segment.runtimes.openvino_runtime import is_installed
from dicomnode.segment.runtimes.runtime import (
    BFLOAT16,
    FLOAT32,
    FUSED,
    OPENVINO,
    TORCH,
    Choice,
    Runtime,
    has_bfloat16,
)
from dicomnode.segment.runtimes.torch_runtime import TorchRuntime

CPU = torch.device("cpu")
DATA = Path(os.environ.get("DICOMNODE_DATA", "../shared/data"))
EAGER = "torch as it comes, float32"
BUSY = "while True: sum(range(10000))"


@dataclass
class Chest:
    """A chest CT with its lungs, axes of the patient."""

    hu: np.ndarray
    sides: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass
class Row:
    """One runtime of one model."""

    name: str
    run: Callable[[], Tensor]
    slices: int
    masks: Tensor | None = None
    wall: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    cpu: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})

    def time(self, busy: bool) -> None:
        """Run once and note what it took."""
        processor, wall = time.process_time(), time.perf_counter()
        self.run()
        self.wall[busy].append(time.perf_counter() - wall)
        self.cpu[busy].append(time.process_time() - processor)

    def ms(self, which: dict[bool, list[float]], busy: bool) -> float:
        """Median milliseconds a slice."""
        return 1000 * statistics.median(which[busy]) / self.slices if which[busy] else float("nan")


class EagerRuntime(TorchRuntime):
    """Torch in float32 without any of the node's care: weights and images in their usual order of memory."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(copy.deepcopy(network), CPU, FLOAT32)
        if not any(isinstance(module, nn.Conv3d) for module in network.modules()):
            self._network.to(memory_format=torch.contiguous_format)

    def run(self, method: str, planes: Tensor, *, batch: int, overlap: int = 0) -> Tensor:
        """All planes in batches; see :class:`~dicomnode.segment.runtimes.runtime.Runtime`."""
        with torch.inference_mode():
            count = len(planes) - overlap
            parts = [planes[at : at + batch + overlap].contiguous() for at in range(0, count, batch)]
            return torch.cat([getattr(self._network, method)(part) for part in parts])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ct", type=Path, default=DATA / "ricord_covid_chest", help="folder of a chest CT")
    parser.add_argument("--model", action="append", help="a lesion model; by default all, and lobes")
    parser.add_argument("--slices", type=int, default=8, help="slices of the network's tables")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one round, 8 slices, the model best alone")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.slices, arguments.model = 1, 8, arguments.model or ["best"]
    chest = load_chest(arguments.ct)
    names = arguments.model or [card.name for card in installed_models()]
    print(f"{len(chest.hu)} slices of {chest.hu.shape[1]} x {chest.hu.shape[2]}, ", end="")
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} before\n\n### Networks\n")
    print("| network | runtime | ms a slice | CPU ms a slice | the same beside a busy process | Dice |")
    print("|---|---|---|---|---|---|")
    for name in names:
        print_rows(name, lesion_rows(name, chest, arguments.slices), arguments.rounds)
    if not arguments.model:
        print_rows("lobes", lobe_rows(chest), arguments.rounds)
        print_rows("lungs", lung_rows(chest, arguments.slices), arguments.rounds)
    print("\n### From HU to labels\n")
    print("| step | runtime | seconds | CPU seconds | the same beside a busy process | Dice |")
    print("|---|---|---|---|---|---|")
    print_rows("lesions (best)", whole_rows(chest), 1 if arguments.quick else 2, scale=1000)


def load_chest(folder: Path) -> Chest:
    """The first series below a folder, and its lungs."""
    paths = next(iter(find_series(folder))).paths
    volume = assemble_series(paths, lambda done, total: None)
    order = AxisOrder.from_affine(volume.affine)
    hu = np.ascontiguousarray(order.to_patient(volume.hu))
    spacing = order.patient_spacing(volume.spacing_mm)
    return Chest(hu, find_lungs(hu, spacing).sides, spacing)


def choices(eager: Callable[[], Runtime], subject: Subject) -> Iterator[tuple[str, Runtime]]:
    """Eager torch, then the node's runtimes that this machine has."""
    yield EAGER, eager()
    for name in (TORCH, FUSED, OPENVINO):
        for precision in (FLOAT32, BFLOAT16):
            if (precision == BFLOAT16 and not has_bfloat16(CPU)) or (name == OPENVINO and not is_installed()):
                continue
            choice = Choice(name, precision)
            yield str(choice), build_runtime(choice, subject, Memory())


def lesion_rows(name: str, chest: Chest, slices: int) -> list[Row]:
    """A lesion model's network on slices spread over the lungs."""
    model = LesionModel(load_installed_card(name))
    wants, rules = model.card.preprocessing, model.card.postprocessing
    lung = chest.sides > 0
    filled = np.flatnonzero(lung.any(axis=(1, 2)))
    middle = len(filled) // 2
    total = slices + 2 * wants.context_slices
    chosen = filled[max(0, middle - total // 2) :][:total]
    crop = choose_crop(chest.hu, lung, chest.spacing_mm, wants)
    shape = input_shape(crop.shape, chest.spacing_mm[1:], wants)
    planes = model._runner.planes(chest.hu, lung, chosen, crop, shape, 1.0)
    core = chosen[wants.context_slices : total - wants.context_slices]
    inside = torch.from_numpy(lung[(core, *crop.slices)].astype(np.float32))
    inside = resample(inside, shape) > 0.5

    def masks(runtime: Runtime) -> Tensor:
        logits = run_network(runtime, planes, wants.context_slices, BATCH_SLICES)
        lesion, *others = meanings(logits[..., : shape[0], : shape[1]].float(), rules)
        lesion = inside & (lesion >= rules.probability_threshold)
        return torch.stack((lesion, *(lesion & (other >= 0.5) for other in others)))

    network = model._network
    subject = Subject(network, model.card.weights.sha256, CPU, masks, reference_runtime(network, CPU))
    found = choices(lambda: EagerRuntime(network), subject)
    return [Row(title, lambda r=runtime: masks(r), len(core)) for title, runtime in found]


def lobe_rows(chest: Chest) -> list[Row]:
    """The lobes' network on both lungs."""
    card = installed_lobe_card()
    if card is None:
        return []
    model = LobeModel(card)
    shapes = {side: model._shape(chest.sides == side, chest.spacing_mm, side) for side in (1, 2)}
    inside = torch.stack([shape[0] for shape in shapes.values()]) > 0.5

    def masks(runtime: Runtime) -> Tensor:
        strongest = torch.stack([logits.argmax(0) for logits in model._logits(shapes, runtime).values()])
        return (torch.arange(3) == strongest[..., None]) & inside[..., None]

    subject = Subject(model._network, card.weights.sha256, CPU, masks, model._plain)
    found = choices(lambda: EagerRuntime(model._network), subject)
    return [Row(title, lambda r=runtime: masks(r), 2) for title, runtime in found]


def lung_rows(chest: Chest, slices: int) -> list[Row]:
    """The lungs' network on coarse slices."""
    card = installed_lung_card()
    if card is None:
        return []
    model = LungNetwork(card)
    grid = WorkGrid.for_volume(chest.hu.shape, chest.spacing_mm)
    middle = grid.shape[0] // 2
    coarse = torch.from_numpy(grid.block_mean(chest.hu)[middle - slices // 2 :][:slices])
    image = in_plane(coarse, grid.spacing_mm[1:], card.input.spacing_mm)

    def masks(runtime: Runtime) -> Tensor:
        model._runtime = runtime
        return model.slices(image, grid.spacing_mm[0]) >= card.rules.probability

    plain = reference_runtime(model._network, CPU)
    subject = Subject(model._network, card.weights.sha256, CPU, masks, plain)
    found = choices(lambda: EagerRuntime(model._network), subject)
    return [Row(title, lambda r=runtime: masks(r), slices) for title, runtime in found]


def whole_rows(chest: Chest) -> list[Row]:
    """The search for lesions by the model ``best``, from HU to labels: eager torch and the node's choice."""
    rows = []
    lung = chest.sides > 0
    for wanted in ("", TORCH, AUTO):
        model = LesionModel(load_installed_card("best"))
        if wanted:
            model.choose_runtime(wanted)
        else:
            model._runner.use(EagerRuntime(model._network))
        title = f"{wanted}: {model.choice}" if wanted else EAGER

        def search(model: LesionModel = model) -> Tensor:
            labels = model.search(chest.hu, lung, chest.spacing_mm).labels
            return torch.from_numpy(np.stack([labels >= 2, labels == 3]))

        rows.append(Row(title, search, 1))
    return rows


def print_rows(name: str, rows: list[Row], rounds: int, scale: float = 1) -> None:
    """Time all rows in turn and print them."""
    for row in rows:
        row.masks = row.run()
    for _ in range(rounds):
        for busy in (False, True):
            with busy_neighbour(busy):
                for row in rows:
                    row.time(busy)
    reference = rows[0].masks
    for row in rows:
        dice = agreement(reference, row.masks)
        alone = f"{row.ms(row.wall, False) / scale:.1f} | {row.ms(row.cpu, False) / scale:.1f}"
        beside = f"{row.ms(row.wall, True) / scale:.1f}, CPU {row.ms(row.cpu, True) / scale:.1f}"
        print(f"| {name} | {row.name} | {alone} | {beside} | {dice:.5f} |", flush=True)


@contextmanager
def busy_neighbour(wanted: bool) -> Iterator[None]:
    """A process that computes on one core meanwhile."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
