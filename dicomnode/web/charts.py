"""Small drawings in SVG; colours come from the style sheet by class."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup


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
