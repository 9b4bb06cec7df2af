"""From a spec to a phantom: label maps, image and truth."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.lesions import LesionGrower
from dicomnode.phantom.render import SliceRenderer
from dicomnode.phantom.skeleton import build_skeleton
from dicomnode.phantom.spec import HU_RANGE, Kernel, PhantomSpec
from dicomnode.phantom.texture import Noise
from dicomnode.phantom.thorax import Individual, Thorax
from dicomnode.phantom.tree import grow_trees
from dicomnode.phantom.truth import TruthCounter
from dicomnode.phantom.tubes import CoverageGrid
from dicomnode.segment.segmentation import Label, Side

CORTEX_MM = 1.2
THREADS = min(4, os.cpu_count() or 1)
Progress = Callable[[str, float], None]
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Phantom:
    """A built thorax.

    Parameters
    ----------
    spec:
        What it was built from.
    hu:
        int16 (z, y, x) in HU: slices from feet to head, rows from front to back, columns from the patient's
        right to left.
    affine:
        4 x 4; voxel index (x, y, z, 1) to patient mm (LPS).
    labels, sides, lobes:
        uint8 maps of the same shape with the values of :class:`~dicomnode.segment.segmentation.Label`,
        ``Side`` and ``Lobe``. Lung is what the two pleurae enclose, vessels and bronchi in it included; the
        windpipe, the main bronchi and the great vessels up to the hilum are not lung.
    truth:
        True values under the measurement names; weight and attenuation are those of the image without noise.
    """

    spec: PhantomSpec
    hu: NDArray[np.int16]
    affine: NDArray[np.float64]
    labels: NDArray[np.uint8]
    sides: NDArray[np.uint8]
    lobes: NDArray[np.uint8]
    truth: Mapping[str, Any]


def build_phantom(spec: PhantomSpec, progress: Progress | None = None) -> Phantom:
    """Build the thorax a spec describes.

    Parameters
    ----------
    spec:
        The phantom wanted. The same spec gives the same voxels.
    progress:
        Called with the step's name and the share of it done, 0 to 1.

    Raises
    ------
    PhantomError
        If a lesion does not fit into its lobe or lies outside the lung.
    """
    tell = progress or (lambda _step, _share: None)
    thorax = Thorax(Individual.from_seed(spec.seed))
    coverages = _draw_tubes(spec, thorax, tell)
    renderer = SliceRenderer(spec, thorax, coverages)
    labels, sides, lobes = _maps(spec, thorax, renderer, tell)
    grower = LesionGrower(spec, thorax, labels, lobes)
    for index in range(len(spec.lesions)):
        tell("lesions", index / len(spec.lesions))
        grower.grow(index)
    coverages |= {str(kind): weight for kind, weight in grower.weights.items()}
    counter = TruthCounter()
    hu = np.empty(spec.matrix, np.int16)
    noise = Noise(spec.seed, spec.noise_hu, Kernel(spec.kernel), spec.spacing_mm[1:])
    outside = _outside_circle(spec)
    for index, clean in enumerate(_in_order(renderer.slice, spec.matrix[0])):
        tell("image", index / spec.matrix[0])
        counter.add(labels[index], sides[index], lobes[index], np.rint(clean))
        noisy = np.rint(clean + noise.slice(index, spec.matrix[1:]))
        hu[index] = np.clip(noisy, *HU_RANGE)
        if outside is not None:
            hu[index][outside] = spec.padding_hu
    tell("image", 1.0)
    return Phantom(spec, hu, spec.affine, labels, sides, lobes, counter.truth(spec.voxel_ml))


def _in_order(make: Callable[[int], Made], count: int) -> Iterator[Made]:
    """``make(0)``, ``make(1)`` and so on, a few made at the same time on as many threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque(pool.submit(make, index) for index in range(min(count, 2 * THREADS)))
        for index in range(count):
            made = waiting.popleft().result()
            following = index + 2 * THREADS
            if following < count:
                waiting.append(pool.submit(make, following))
            yield made


def _draw_tubes(spec: PhantomSpec, thorax: Thorax, tell: Progress) -> dict[str, NDArray[np.uint8]]:
    tell("vessels and bones", 0.0)
    trees = grow_trees(thorax, spec.seed)
    skeleton = build_skeleton(thorax)
    drawings = {
        "vessel": trees.vessels,
        "wall": trees.walls,
        "lumen": trees.lumens,
        "bone": skeleton.bones,
        "marrow": skeleton.bones.thinned(CORTEX_MM * skeleton.bones.flatness[:, None]),
        "cartilage": skeleton.cartilages,
    }
    coverages = {}
    for step, (name, capsules) in enumerate(drawings.items()):
        grid = CoverageGrid(spec)
        grid.draw(capsules)
        coverages[name] = grid.values
        tell("vessels and bones", (step + 1) / len(drawings))
    return coverages


def _maps(
    spec: PhantomSpec, thorax: Thorax, renderer: SliceRenderer, tell: Progress
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    labels, sides, lobes = (np.zeros(spec.matrix, np.uint8) for _ in range(3))
    part = renderer.cage_window.rows, renderer.cage_window.columns

    def fill(index: int) -> None:
        at = renderer.coordinates(index)
        known = renderer.fields(at)
        lobes[index][part] = thorax.lobes(at.crop(*part), known.right, known.left)
        sides[index][part][known.right < 0] = Side.RIGHT
        sides[index][part][known.left < 0] = Side.LEFT
        labels[index][sides[index] > 0] = Label.NORMAL_LUNG

    for index, _ in enumerate(_in_order(fill, spec.matrix[0])):
        tell("lungs", index / spec.matrix[0])
    return labels, sides, lobes


def _outside_circle(spec: PhantomSpec) -> NDArray[np.bool_] | None:
    if not spec.reconstruction_circle:
        return None
    y, x = (spec.axis_mm(axis) - spec.axis_mm(axis).mean() for axis in (1, 2))
    radius = min(len(y) * spec.spacing_mm[1], len(x) * spec.spacing_mm[2]) / 2
    outside: NDArray[np.bool_] = np.hypot(x[None, :], y[:, None]) > radius
    return outside
