"""A plot's scales, and its grid with figures."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup


@dataclass(frozen=True)
class Axes:
    """From values to places in a drawing of ``width`` by ``height``."""

    low: tuple[float, float]
    high: tuple[float, float]
    width: int = 560
    height: int = 300
    left: int = 46
    bottom: int = 44

    @property
    def right(self) -> float:
        """Where the plot ends."""
        return self.width - 10

    @property
    def base(self) -> float:
        """Where it stands."""
        return self.height - self.bottom

    def x(self, value: float) -> float:
        """From the left."""
        return self.left + (self.right - self.left) * (value - self.low[0]) / (self.high[0] - self.low[0])

    def y(self, value: float) -> float:
        """From the top."""
        return self.base - (self.base - 10) * (value - self.low[1]) / (self.high[1] - self.low[1])

    def grid(self, words_x: str, words_y: str = "") -> Markup:
        """Lines and figures along both axes, and what they mean."""
        parts = [
            Markup(
                '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="10" y2="{1:.1f}"/>'
                '<text class="tick" x="{0:.1f}" y="{2:.1f}">{3}</text>'
            ).format(self.x(value), self.base, self.base + 15, _figure(value))
            for value in ticks(self.low[0], self.high[0], 8)
        ]
        parts += [
            Markup(
                '<line class="grid" x1="{0}" x2="{1:.1f}" y1="{2:.1f}" y2="{2:.1f}"/>'
                '<text class="tick end" x="{3}" y="{4:.1f}">{5}</text>'
            ).format(self.left, self.right, self.y(value), self.left - 6, self.y(value) + 4, _figure(value))
            for value in ticks(self.low[1], self.high[1], 5)
        ]
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>').format(
                (self.left + self.right) / 2, self.height - 8, words_x
            )
        )
        if words_y:
            parts.append(
                Markup('<text class="tick start" x="{}" y="22">{}</text>').format(self.left + 6, words_y)
            )
        return Markup("").join(parts)

    def drawing(self, label: str, *parts: Markup) -> Markup:
        """The whole drawing."""
        return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            self.width, self.height, label, Markup("").join(parts)
        )


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round values between two others, about so many."""
    raw = (high - low) / about
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [step * index for index in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _figure(value: float) -> str:
    return f"{value:g}".replace("-", "\u2212")
