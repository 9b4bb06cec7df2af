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
