"""Table 4 of the DeepLung paper on this machine: ConvLSTM, 2D and 3D U-Net on 16 slices, time and memory.

    python -m benchmarks.table4 [--slices 16] [--size 256] [--rounds 2] [--runtime torch|openvino] [--quick]

Each network runs in processes of its own, in turn; printed are medians. Time is what the process's processors
worked, memory what the run added to the process at its highest. ConvLSTM is the shipped model; it reads five
more slices at each end, as its windows do in a chest. The U-Nets have the 64 channels of their papers
(Ronneberger et al. 2015, Cicek et al. 2016), which the paper's own table doesn't state; beside them
stands the narrow one that this project ships. What they find doesn't matter here: their weights are random.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dicomnode.computing import QUIET_THREADS
from dicomnode.segment.card import load_installed_card
from dicomnode.segment.inference import run_network
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.networks.unet2d import UNet2d
from dicomnode.segment.networks.unet3d import UNet3d
from dicomnode.segment.runtimes.openvino_runtime import OpenVinoRuntime
from dicomnode.segment.runtimes.runtime import FLOAT32, OPENVINO, TORCH, Runtime
from dicomnode.segment.runtimes.torch_runtime import TorchRuntime
from dicomnode.segment.sample import drawn_chest

CONVLSTM, FLAT, DEEP, NARROW = (
    "ConvLSTM",
    "U-Net 2D, 64 channels",
    "U-Net 3D, 64 channels",
    "U-Net 2D, 16 channels",
)
PAPER = {CONVLSTM: (3.700, 4.84), FLAT: (6.097, 5.80), DEEP: (11.020, 18.61)}
"""Seconds and GB that the paper prints."""


def main() -> None:
    """Print the table, or run one network where a parent asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--size", type=int, default=256, help="rows and columns")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--runtime", choices=(TORCH, OPENVINO), default=TORCH, help="in float32")
    parser.add_argument("--quick", action="store_true", help="one round of 128 x 128")
    parser.add_argument("--one", choices=(CONVLSTM, FLAT, DEEP, NARROW), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.rounds = 128, 1
    if arguments.one:
        print(json.dumps(one_run(arguments.one, arguments.slices, arguments.size, arguments.runtime)))
        return
    found: dict[str, list[tuple[float, float, float]]] = {}
    load = os.getloadavg()[0]
    for _ in range(arguments.rounds):
        for name in (CONVLSTM, FLAT, DEEP, NARROW):
            found.setdefault(name, []).append(child(name, arguments))
    middle = {
        name: [statistics.median(one) for one in zip(*runs, strict=True)] for name, runs in found.items()
    }
    print(
        f"{arguments.slices} slices of {arguments.size} x {arguments.size}, {arguments.runtime} float32, ",
        end="",
    )
    print(f"{torch.get_num_threads()} threads, load {load:.1f} before\n")
    print("| network | CPU s | wall s | GB | CPU: ConvLSTM / this | memory | paper: CPU s, GB, ratios |")
    print("|---|---|---|---|---|---|---|")
    for name, (cpu, wall, memory) in middle.items():
        ratios = f"{middle[CONVLSTM][0] / cpu:.2f} | {middle[CONVLSTM][2] / memory:.2f}"
        print(f"| {name} | {cpu:.2f} | {wall:.2f} | {memory:.2f} | {ratios} | {of_paper(name)} |")


def of_paper(name: str) -> str:
    """The paper's figures beside ours."""
    if name not in PAPER:
        return "-"
    ratios = (ours / theirs for ours, theirs in zip(PAPER[CONVLSTM], PAPER[name], strict=True))
    return ", ".join([f"{PAPER[name][0]:.2f}, {PAPER[name][1]:.2f}", *(f"{ratio:.2f}" for ratio in ratios)])


def child(name: str, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and GB of a fresh process."""
    command = [sys.executable, "-m", "benchmarks.table4", "--one", name, "--slices", str(arguments.slices)]
    command += ["--size", str(arguments.size), "--runtime", arguments.runtime]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=QUIET_THREADS | os.environ)
    cpu, wall, memory = json.loads(done.stdout.splitlines()[-1])
    return cpu, wall, memory


def one_run(name: str, slices: int, size: int, runtime_name: str) -> tuple[float, float, float]:
    """What one pass over the slices costs after one over a few pixels."""
    torch.manual_seed(0)
    network, context = build(name)
    image = pictures(slices + 2 * context, size)
    if name == DEEP:
        image = image.movedim(0, 1)[None]
    runtime: Runtime = (
        TorchRuntime(network, torch.device("cpu"), FLOAT32)
        if runtime_name == TORCH
        else OpenVinoRuntime(network, FLOAT32, torch.get_num_threads())
    )
    batch = len(image) - 2 * context
    small = image if runtime_name == OPENVINO else image[..., :32, :32]
    run_network(runtime, small, context, batch)
    before = resident_gb()
    reset_peak()
    cpu, wall = time.process_time(), time.perf_counter()
    run_network(runtime, image, context, batch)
    return time.process_time() - cpu, time.perf_counter() - wall, peak_gb() - before


def build(name: str) -> tuple[nn.Module, int]:
    """A network and the slices it sees to each side."""
    if name == CONVLSTM:
        model = LesionModel(load_installed_card("deeplung_convlstm"))
        return model._network, model.card.preprocessing.context_slices
    if name == DEEP:
        return UNet3d(1, 3, width=64, levels=3).eval(), 0
    return UNet2d(1, 3, width=64 if name == FLAT else 16).eval(), 0


def pictures(slices: int, size: int) -> Tensor:
    """Slices of a drawn chest in [0, 1], (slices, 1, size, size)."""
    hu, _ = drawn_chest(slices)
    image = ((torch.from_numpy(hu).float() + 1100) / 1300).clamp(0, 1)
    return F.interpolate(image[:, None], (size, size), mode="bilinear", antialias=True)


def resident_gb() -> float:
    """Memory of this process now."""
    return _status("VmRSS")


def peak_gb() -> float:
    """Most memory since the last reset."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Forget the highest memory so far, where Linux allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        print("peaks are of the whole process", file=sys.stderr)


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1e6
    raise OSError(f"/proc/self/status has no {key}")


if __name__ == "__main__":
    main()
