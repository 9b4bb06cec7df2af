"""What makes a chest CT hard, done to one whose answer is known: a phantom, or a patient's own scan.

Arrays are int16 in HU with axes (superior, posterior, left), spacings in mm along them; a new array is made.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.phantom.spec import Kernel
from dicomnode.phantom.texture import Noise

AIR_HU = -1024
CEILING_HU = 32767
BODY_HU = -300
SOFT_TISSUE_HU = 20
BONE_HU = 500
TABLE_HU = 150
TABLE_MM = 20.0
ARM_RADIUS_MM = (48.0, 40.0)
HUMERUS_RADIUS_MM = 11.0
DENSE_HU = (-100.0, 0.0)
"""Lung voxels take up contrast agent from the first of these on, wholly from the second: no ground glass."""
CONSOLIDATION_RISE_HU = 60.0
AIRLESS_MM = 3.0
AIRLESS_HU = -350.0
"""Dense lung amid other dense lung is consolidation, which takes up less than a vessel amid air."""
BLOOD_HU = (15.0, 90.0)
STREAK_REACH_MM = 60.0
STREAK_CELLS = 180

Hu = NDArray[np.int16]
Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


def resampled(hu: Hu, spacing_mm: Spacing, shape: tuple[int, int, int], new_mm: Spacing) -> Hu:
    """The scan on another grid with the same middle: means over the thicker slices or the larger pixels.

    Beyond the scan is air in-plane; above and below, its end slices are repeated, so that no lung is cut.
    """
    z, y, x = (
        _means_over_boxes(n, mm, count, step)
        for n, mm, count, step in zip(hu.shape, spacing_mm, shape, new_mm, strict=True)
    )
    out = np.empty(shape, np.int16)
    for k, weights in enumerate(z):
        used = np.flatnonzero(weights)
        if used.size:
            share = (weights[used] / weights[used].sum()).astype(np.float32)
            plane = np.tensordot(share, hu[used[0] : used[-1] + 1].astype(np.float32), axes=1)
        else:
            plane = hu[0 if k < shape[0] / 2 else -1].astype(np.float32)
        out[k] = np.rint(y @ (plane - AIR_HU) @ x.T + AIR_HU)
    return out


def _means_over_boxes(count: int, step: float, new_count: int, new_step: float) -> NDArray[np.float32]:
    """Weights (new_count, count) of voxels of size ``step`` in boxes as wide as the larger of both steps."""
    width = max(step, new_step)
    middle = (np.arange(new_count) - (new_count - 1) / 2) * new_step
    edges = (np.arange(count + 1) - count / 2) * step
    covered = np.clip(edges[None], (middle - width / 2)[:, None], (middle + width / 2)[:, None])
    return (np.diff(covered, axis=1) / width).astype(np.float32)


def with_noise(hu: Hu, spacing_mm: Spacing, noise_hu: float, seed: int = 0) -> Hu:
    """Low dose: noise of a standard kernel's grain with this standard deviation in HU."""
    noise = Noise(seed, noise_hu, Kernel.STANDARD, spacing_mm[1:])
    out = np.empty_like(hu)
    for k, plane in enumerate(hu):
        out[k] = np.clip(np.rint(plane + noise.slice(k, plane.shape)), AIR_HU, CEILING_HU)
    return out


def with_contrast(hu: Hu, lung: Mask, spacing_mm: Spacing, rise_hu: float = 250.0) -> Hu:
    """Contrast agent in heart, great vessels and the lungs' vessels; ``lung`` is where the lungs are."""
    smooth = [1.5 / step for step in spacing_mm]
    out = hu.copy()
    for k in range(len(hu)):
        columns = np.flatnonzero(lung[k].any(axis=0))
        if not columns.size:
            continue
        plane = hu[k].astype(np.float32)
        between = (
            np.maximum.accumulate(lung[k], axis=1) & np.maximum.accumulate(lung[k][:, ::-1], axis=1)[:, ::-1]
        )
        blood = ndimage.gaussian_filter(plane, smooth[1:])
        blood = between & ~lung[k] & (blood > BLOOD_HU[0]) & (blood < BLOOD_HU[1])
        dense = np.clip((plane - DENSE_HU[0]) / (DENSE_HU[1] - DENSE_HU[0]), 0, 1) * lung[k]
        airless = ndimage.gaussian_filter(plane, [AIRLESS_MM / step for step in spacing_mm[1:]]) > AIRLESS_HU
        rises = np.where(airless, min(rise_hu, CONSOLIDATION_RISE_HU), rise_hu)
        out[k] = np.rint(plane + np.maximum(rise_hu * blood, rises * dense))
    return out


def with_motion(
    hu: Hu, spacing_mm: Spacing, rise_mm: float = 12.0, forward_mm: float = 4.0, every_mm: float = 60.0
) -> Hu:
    """A breath during the scan: every other stretch of slices shows the chest lifted.

    In these the anatomy lies ``rise_mm`` higher and ``forward_mm`` further to the front: at its ends some of
    it is seen twice (a double diaphragm) or not at all. Beyond the scan its end slices are repeated.
    """
    out = hu.copy()
    count, rise = len(hu), round(rise_mm / spacing_mm[0])
    forward = round(forward_mm / spacing_mm[1])
    for k in range(count):
        if int(k * spacing_mm[0] / every_mm) % 2:
            out[k] = AIR_HU
            kept = hu.shape[1] - forward
            out[k][:kept] = hu[min(max(k - rise, 0), count - 1)][forward:]
    return out


def with_kernel(hu: Hu, spacing_mm: Spacing, blur_mm: float) -> Hu:
    """Another kernel: blurred in-plane by a Gaussian of ``blur_mm``, or sharpened against it if negative."""
    out = np.empty_like(hu)
    sigma = [abs(blur_mm) / step for step in spacing_mm[1:]]
    for k, plane in enumerate(hu):
        smooth = ndimage.gaussian_filter(plane.astype(np.float32), sigma)
        changed = smooth if blur_mm >= 0 else 2 * plane - smooth
        out[k] = np.clip(np.rint(changed), AIR_HU, CEILING_HU)
    return out


def with_filled(hu: Hu, lung: Mask, seed: int = 0) -> Hu:
    """Soft tissue or fluid in place of ``lung``: what a removed or collapsed lung leaves behind."""
    out = hu.copy()
    random = np.random.default_rng((seed, 11))
    out[lung] = np.rint(random.normal(SOFT_TISSUE_HU, 12, np.count_nonzero(lung)))
    return out


def body_of(hu: Hu) -> Mask:
    """The largest body slice by slice, lungs filled; the table may touch it."""
    body = np.zeros(hu.shape, np.bool_)
    for k, plane in enumerate(hu):
        parts, count = ndimage.label(ndimage.binary_opening(plane > BODY_HU, iterations=2))
        if count:
            largest = np.bincount(parts.ravel())[1:].argmax() + 1
            body[k] = ndimage.binary_fill_holes(parts == largest)
    return body


def prone(hu: Hu, spacing_mm: Spacing) -> Hu:
    """The body on its front: the table goes from behind it to before it; axes stay the patient's."""
    body = body_of(hu)
    out = np.where(body, hu, np.int16(AIR_HU))
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    top = max(0, int(rows[0]) - round(TABLE_MM / spacing_mm[1]))
    table = np.zeros(hu.shape, np.bool_)
    table[:, top : int(rows[0])] = True
    out[table & ~body] = TABLE_HU
    return out


def with_arms(hu: Hu, spacing_mm: Spacing, seed: int = 0) -> Hu:
    """An arm on each side of the body, and the streaks across that so much bone makes.

    The field of view must leave room for them: what doesn't fit is outside.
    """
    out = hu.copy()
    random = np.random.default_rng((seed, 13))
    body = body_of(hu)
    rows, columns = np.flatnonzero(body.any(axis=(0, 2))), np.flatnonzero(body.any(axis=(0, 1)))
    y, x = np.ogrid[: hu.shape[1], : hu.shape[2]]
    middle = (int(rows[0]) + int(rows[-1])) / 2
    for edge, sign in ((int(columns[0]), -1), (int(columns[-1]), 1)):
        centre = edge + sign * (ARM_RADIUS_MM[1] - 3) / spacing_mm[2]
        dy, dx = (y - middle) * spacing_mm[1], (x - centre) * spacing_mm[2]
        arm = (dy / ARM_RADIUS_MM[0]) ** 2 + (dx / ARM_RADIUS_MM[1]) ** 2 < 1
        bone = np.hypot(dy, dx) < HUMERUS_RADIUS_MM
        skin = np.where(bone, np.int16(BONE_HU), np.int16(SOFT_TISSUE_HU))
        out[:, arm] = np.maximum(out, skin[None])[:, arm]
    reach = np.exp(-((((np.arange(hu.shape[1]) - middle) * spacing_mm[1]) / 60) ** 2)).astype(np.float32)
    grain = max(1.0, 60 / spacing_mm[2])
    for k in range(len(out)):
        lines = ndimage.gaussian_filter1d(random.standard_normal(hu.shape[1:], np.float32), grain, axis=1)
        lines *= 45 / max(float(lines.std()), 1e-6) * reach[:, None]
        out[k] = np.clip(out[k] + lines, AIR_HU, CEILING_HU)
    return out


def with_metal(hu: Hu, spacing_mm: Spacing, metal_hu: int = 3071, seed: int = 0) -> Hu:
    """Wires in the sternum, a rod beside the spine and a pacemaker, with streaks around them."""
    out = hu.copy()
    random = np.random.default_rng((seed, 17))
    body, height = body_of(hu), len(hu)
    y, x = np.ogrid[: hu.shape[1], : hu.shape[2]]
    level, share = np.arange(height) * spacing_mm[0], np.arange(height) / height
    places: list[tuple[float, float, float, NDArray[np.bool_]]] = [  # down, across, radius in mm, slices
        (0.10, 0.50, 3.0, level % 30 < 4),
        (0.80, 0.58, 5.0, (share > 0.2) & (share < 0.9)),
        (0.16, 0.78, 14.0, (share > 0.68) & (share < 0.78)),
    ]
    for k in range(height):
        rows, columns = np.flatnonzero(body[k].any(axis=1)), np.flatnonzero(body[k].any(axis=0))
        if not rows.size:
            continue
        total = np.zeros(hu.shape[1:], np.float32)
        metal = np.zeros(hu.shape[1:], np.bool_)
        for down, across, radius, present in places:
            if not present[k]:
                continue
            dy = (y - rows[0] - down * np.ptp(rows)) * spacing_mm[1]
            dx = (x - columns[0] - across * np.ptp(columns)) * spacing_mm[2]
            r = np.hypot(dy, dx)
            rays = ndimage.gaussian_filter1d(random.standard_normal(STREAK_CELLS), 1.0, mode="wrap")
            angle = ((np.arctan2(dy, dx) / (2 * math.pi) + 0.5) * STREAK_CELLS).astype(int) % STREAK_CELLS
            total += (12 * radius * rays[angle] / (1 + r / STREAK_REACH_MM) ** 2).astype(np.float32)
            metal |= r < radius
        plane = np.where(body[k], out[k] + total, out[k])
        plane[metal] = metal_hu
        out[k] = np.clip(plane, AIR_HU, CEILING_HU)
    return out
