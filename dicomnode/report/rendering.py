"""The lungs in space: as glass, with their lesions coloured by density (after Pan et al. 2020).

Parallel rays along an axis of the patient, composited plane by plane; surfaces are lit by the slope of their
depth. No display and no graphics library: a few hundred sums of small arrays.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dicomnode.report.canvas import BACKGROUND, Rgb
from dicomnode.report.lung_grid import DENSITY_HIGH_HU, DENSITY_LOW_HU, Bytes, LungGrid

Floats = NDArray[np.float32]
View = Literal["front", "left", "right"]

MARKS: dict[View, tuple[str, str, str]] = {
    "front": ("R", "L", "H"),
    "left": ("A", "P", "H"),
    "right": ("P", "A", "H"),
}
"""The patient's directions at the left, right and top edge of a view."""

DENSITY_RGB: tuple[tuple[int, Rgb], ...] = (
    (-850, (255, 244, 196)),
    (-650, (255, 214, 110)),
    (-450, (255, 160, 52)),
    (-250, (248, 92, 56)),
    (-50, (214, 32, 72)),
    (150, (140, 16, 96)),
)
"""Colour of a lesion's attenuation in HU, in between linear."""

GLASS_RGB = (146, 190, 208)
VESSEL_RGB = (150, 172, 190)
LIGHT = (-0.45, -0.55, 0.70)
"""Towards the lamp at the upper left: along columns, along rows, towards the viewer."""

_OPAQUE_MM, _VESSEL_MM, _GLOW_MM = 6.0, 14.0, 70.0
"""How far light gets into each, to 1/e."""


def density_colours() -> Bytes:
    """RGB of the 256 densities of a :class:`LungGrid`."""
    hu = np.linspace(DENSITY_LOW_HU, DENSITY_HIGH_HU, 256)
    places = [place for place, _ in DENSITY_RGB]
    channels = [np.interp(hu, places, [rgb[i] for _, rgb in DENSITY_RGB]) for i in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def render_lungs(grid: LungGrid, view: View, pixels_per_mm: float) -> Image.Image:
    """Draw the lungs as seen from ``view``; the picture is as large as the grid."""
    lung, lesion, vessel, density = (
        np.ascontiguousarray(facing(part, view))
        for part in (grid.lung, grid.lesion, grid.vessel, grid.density)
    )
    step_mm, row_mm, column_mm = view_spacing(grid, view)
    picture = np.empty((*lung.shape[1:], 3), np.float32)
    picture[:] = BACKGROUND
    body = lung > 127
    cells = np.arange(len(body) + 1)
    glow = 0.16 * _absorbed(cells * step_mm / _GLOW_MM)[body.sum(axis=0)]
    picture += glow[..., None] * np.array(GLASS_RGB, np.float32)
    back = _surface(body[::-1], (row_mm, column_mm), step_mm)
    picture = _over(picture, GLASS_RGB, 0.30 * back[0], 0.5 + 0.5 * back[1])
    picture = _composite(picture, lesion, vessel, density, step_mm, (row_mm, column_mm))
    front = _surface(body, (row_mm, column_mm), step_mm)
    picture = _over(
        picture,
        GLASS_RGB,
        np.float32(0.05) * np.any(body, axis=0) + np.float32(0.5) * front[0],
        0.35 + 0.65 * front[1],
    )
    size = round(lung.shape[2] * column_mm * pixels_per_mm), round(lung.shape[1] * row_mm * pixels_per_mm)
    pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def facing(part: Bytes, view: View) -> Bytes:
    """The grid with axes depth (nearest first), row (head first), column as seen."""
    if view == "front":
        return part.transpose(1, 0, 2)[:, ::-1]
    sideways = part.transpose(2, 0, 1)[:, ::-1]
    return sideways[::-1] if view == "left" else sideways[..., ::-1]


def view_spacing(grid: LungGrid, view: View) -> tuple[float, float, float]:
    """Edges of a cell along :func:`facing`'s axes."""
    superior, posterior, left = grid.spacing_mm
    return (posterior, superior, left) if view == "front" else (left, superior, posterior)


def _composite(
    picture: Floats,
    lesion: Bytes,
    vessel: Bytes,
    density: Bytes,
    step_mm: float,
    pixel_mm: tuple[float, float],
) -> Floats:
    """Lesions and vessels over ``picture``, front to back; lesions are lit by their mean depth."""
    colours = density_colours().astype(np.float32)
    coverage = np.arange(256) * (step_mm / 255)
    of_lesion, of_vessel = _absorbed(coverage / _OPAQUE_MM), _absorbed(coverage / _VESSEL_MM)
    shape = lesion.shape[1:]
    size = shape[0] * shape[1]
    through, colour = np.ones(size, np.float32), np.zeros((size, 3), np.float32)
    weight, depth, veins = (np.zeros(size, np.float32) for _ in range(3))
    for number, (ill, blood, dense) in enumerate(zip(lesion, vessel, density, strict=True)):
        if (there := np.flatnonzero(blood)).size:
            part = through[there] * of_vessel[blood.reshape(-1)[there]]
            veins[there] += part
            through[there] -= part
        if (there := np.flatnonzero(ill)).size:
            part = through[there] * of_lesion[ill.reshape(-1)[there]]
            colour[there] += part[:, None] * colours[dense.reshape(-1)[there]]
            weight[there] += part
            depth[there] += part * number
            through[there] -= part
    weight, depth, veins, through = (part.reshape(shape) for part in (weight, depth, veins, through))
    colour = colour.reshape(*shape, 3)
    hit = weight > 0.02
    mean = np.divide(depth, weight, out=np.zeros_like(depth), where=hit)
    _, light = lit(mean * np.float32(step_mm), hit, pixel_mm, 1.2)
    shade = 0.62 + 0.5 * light
    veins_rgb = veins[..., None] * np.array(VESSEL_RGB, np.float32) * 0.8
    return picture * through[..., None] + colour * shade[..., None] + veins_rgb


def _absorbed(depth: NDArray[np.floating]) -> Floats:
    """Share of light lost; rounded, since exp may differ in its last bit from one processor to another."""
    return np.round(1 - np.exp(-depth.astype(np.float64)), 6).astype(np.float32)


def _surface(body: NDArray[np.bool_], pixel_mm: tuple[float, float], step_mm: float) -> tuple[Floats, Floats]:
    """How grazing the first surface is met, 0 to 1, and how much light falls on it."""
    hit = np.any(body, axis=0)
    depth = np.argmax(body, axis=0).astype(np.float32) * np.float32(step_mm)
    cosine, light = lit(depth, hit, pixel_mm, 1.6)
    grazing = (1 - cosine) * np.sqrt(1 - cosine)
    return np.where(hit, grazing, 0).astype(np.float32), light


def lit(depth_mm: Floats, hit: Any, pixel_mm: tuple[float, float], smooth: float) -> tuple[Floats, Floats]:
    """Cosine between surface and viewer, and between surface and lamp."""
    weight = ndimage.gaussian_filter(hit.astype(np.float32), smooth)
    filled = ndimage.gaussian_filter(np.where(hit, depth_mm, 0).astype(np.float32), smooth)
    even = np.divide(filled, weight, out=np.zeros_like(filled), where=weight > 1e-3)
    down, right = np.gradient(even, *pixel_mm)
    length = np.sqrt(1 + down**2 + right**2)
    light = (LIGHT[0] * right + LIGHT[1] * down + LIGHT[2]) / length
    return (1 / length).astype(np.float32), np.clip(light, 0, 1).astype(np.float32)


def _over(picture: Floats, rgb: Rgb, opacity: Floats, light: Floats) -> Floats:
    opacity = np.clip(opacity, 0, 1)[..., None]
    return picture * (1 - opacity) + opacity * light[..., None] * np.array(rgb, np.float32)
