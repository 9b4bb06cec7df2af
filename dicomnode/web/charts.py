"""Small drawings in SVG; colours come from the style sheet by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from markupsafe import Markup

from dicomnode.web.axes import Axes


def path(points: Sequence[tuple[float, float]]) -> str:
    """A line through points, as the ``d`` of an SVG path."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) if points else ""


def sparkline(values: Sequence[float], label: str, width: int = 240, height: int = 36) -> Markup:
    """A curve without axes, from the left (old) to the right (new), filled down to 0."""
    highest = max(*values, 1.0)
    step = width / max(len(values) - 1, 1)
    points = [(i * step, height - 1 - (height - 3) * value / highest) for i, value in enumerate(values)]
    line = path(points)
    return Markup(
        '<svg class="sparkline" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        'aria-label="{label}"><path class="area" d="{line}L{width},{height}L0,{height}Z"/>'
        '<path class="line" d="{line}"/></svg>'
    ).format(width=width, height=height, label=label, line=line)


def histogram(probability: Sequence[float], normal: Sequence[float], lowest_hu: int, bin_hu: int) -> Markup:
    """Attenuation of the lungs against that of normal lungs: share of the voxels a bin."""
    width, height, left, bottom = 560, 220, 40, 28
    highest = max(*probability, *normal) * 1.08
    across, tall = width - left - 8, height - bottom - 8

    def x(hu: float) -> float:
        return left + across * (hu - lowest_hu) / (bin_hu * len(normal))

    def points(values: Sequence[float]) -> str:
        middles = (lowest_hu + bin_hu * (index + 0.5) for index in range(len(values)))
        return path(
            [(x(hu), 8 + tall * (1 - value / highest)) for hu, value in zip(middles, values, strict=True)]
        )

    ticks = Markup("").join(
        Markup(
            '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="8" y2="{1}"/>'
            '<text class="tick" x="{0:.1f}" y="{2}">{3}</text>'
        ).format(x(hu), 8 + tall, height - 10, str(hu).replace("-", "\u2212"))
        for hu in range(-1000, lowest_hu + bin_hu * len(normal), 200)
    )
    levels = Markup("").join(
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick end" x="{}" y="{text:.1f}">{} %</text>'
        ).format(
            left,
            width - 8,
            left - 6,
            percent,
            y=8 + tall * (1 - percent / 100 / highest),
            text=12 + tall * (1 - percent / 100 / highest),
        )
        for percent in range(0, int(highest * 100) + 1, max(1, round(highest * 100 / 4)))
    )
    line = points(probability)
    return Markup(
        '<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="Histogram of the lungs in HU, against normal lungs">{levels}{ticks}'
        '<path class="area" d="{line}L{right:.1f},{base}L{left},{base}Z"/>'
        '<path class="normal" d="{normal}"/><path class="line" d="{line}"/></svg>'
    ).format(
        width=width,
        height=height,
        levels=levels,
        ticks=ticks,
        line=line,
        normal=points(normal),
        right=x(lowest_hu + bin_hu * len(normal)),
        base=8 + tall,
        left=left,
    )


@dataclass(frozen=True)
class Point:
    """A measured value, with its bounds where they are known."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Curve:
    """A published course; ``name`` is its class in the style sheet."""

    name: str
    points: Sequence[tuple[float, float]]


def course(points: Sequence[Point], curves: Sequence[Curve], label: str, words_x: str) -> Markup:
    """Measured values over days, beside published courses."""
    published = [place for curve in curves for place in curve.points]
    days = [point.x for point in points] + [x for x, _ in published]
    highest = max(*(point.y for point in points), *(y for _, y in published), 1.0)
    axes = Axes((min(*days, 0.0) - 1.0, 0.0), (max(days) * 1.02, highest * 1.12))
    lines = [
        Markup('<path class="{}" d="{}"/>').format(
            curve.name, path([(axes.x(x), axes.y(y)) for x, y in curve.points])
        )
        for curve in curves
    ]
    own = path([(axes.x(point.x), axes.y(point.y)) for point in points])
    bars = [
        Markup('<line class="interval-bar" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>').format(
            axes.x(point.x), max(axes.y(point.high), 10.0), axes.y(point.low)
        )
        for point in points
        if point.low is not None and point.high is not None
    ]
    dots = [
        Markup(
            '<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4.5"><title>day {:g}: {:g}</title></circle>'
        ).format(axes.x(point.x), axes.y(point.y), point.x, point.y)
        for point in points
    ]
    said = "; ".join(f"day {point.x:g}: {point.y:g}" for point in points)
    return axes.drawing(
        f"{label}. {said}",
        axes.grid(words_x),
        *lines,
        *bars,
        Markup('<path class="line" d="{}"/>').format(own),
        *dots,
    )


def bland_altman(pairs: Sequence[tuple[float, float]], words: str, unit: str) -> Markup:
    """Found less true over their mean, with the mean difference and the limits of agreement (1.96 SD).

    Parameters
    ----------
    pairs:
        (true, found); at least two.
    """
    means = [(true + found) / 2 for true, found in pairs]
    differences = [found - true for true, found in pairs]
    bias, spread = mean(differences), 1.96 * stdev(differences)
    reach = 1.08 * max(*map(abs, differences), abs(bias) + spread, 1e-6)
    axes = Axes((0.0, -reach), (max(*means, 1e-6) * 1.05, reach))
    lines = [
        Markup(
            '<line class="{}" x1="{}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick end" x="{:.1f}" y="{text:.1f}">{}</text>'
        ).format(
            name,
            axes.left,
            axes.right,
            axes.right - 4,
            _signed(value),
            y=axes.y(value),
            text=axes.y(value) - 4,
        )
        for name, value in (("bias", bias), ("limit", bias - spread), ("limit", bias + spread))
    ]
    dots = [
        Markup('<circle class="dot small" cx="{:.1f}" cy="{:.1f}" r="3.2"/>').format(axes.x(x), axes.y(y))
        for x, y in zip(means, differences, strict=True)
    ]
    label = (
        f"Bland-Altman plot, {words}, {len(pairs)} points: mean difference {_signed(bias)} {unit}, "
        f"limits of agreement {_signed(bias - spread)} to {_signed(bias + spread)} {unit}"
    )
    grid = axes.grid(f"mean of expert and model, {unit}", f"model less expert, {unit}")
    return axes.drawing(label, grid, *lines, *dots)


def _signed(value: float) -> str:
    """Three digits with a sign, and no power of ten."""
    return f"{value:+.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}".replace("-", "\u2212")
