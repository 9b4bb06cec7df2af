"""One picture a quantity: correlation, Bland-Altman, and Bland-Altman of the square roots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dicomnode.cohort.agreement import Agreement, BlandAltman

mpl.use("Agg")

INK, POINTS, LIMITS = "#1d2733", "#1f6f8b", "#c2562d"


def plot_agreement(
    name: str, reference: Sequence[float], prediction: Sequence[float], agreement: Agreement, path: Path
) -> None:
    """Write the picture (PNG) of one quantity."""
    r, p = np.asarray(reference, dtype=float), np.asarray(prediction, dtype=float)
    panels = 3 if agreement.bland_altman_root else 2
    figure = Figure(figsize=(4.6 * panels, 4.4), dpi=150, layout="constrained")
    axes = figure.subplots(1, panels)
    _correlation(axes[0], name, r, p, agreement)
    _bland_altman(axes[1], name, (r + p) / 2, p - r, agreement.bland_altman)
    if agreement.bland_altman_root:
        roots = (np.sqrt(r) + np.sqrt(p)) / 2
        _bland_altman(axes[2], f"√{name}", roots, np.sqrt(p) - np.sqrt(r), agreement.bland_altman_root)
    figure.savefig(path)


def _correlation(axes: Axes, name: str, r: np.ndarray, p: np.ndarray, agreement: Agreement) -> None:
    top = float(max(r.max(), p.max(), 1e-9)) * 1.05
    bottom = min(0.0, float(min(r.min(), p.min())) * 1.05)
    axes.plot([bottom, top], [bottom, top], color=INK, linewidth=0.8)
    axes.scatter(r, p, s=16, color=POINTS, alpha=0.7, linewidths=0)
    axes.set(xlim=(bottom, top), ylim=(bottom, top), aspect="equal")
    axes.set_xlabel(f"{name}, reference")
    axes.set_ylabel(f"{name}, prediction")
    words = [f"n = {agreement.cases}"]
    words += [f"Pearson r = {agreement.pearson:.3f}"] if agreement.pearson is not None else []
    words += [f"ICC = {agreement.icc:.3f}"] if agreement.icc is not None else []
    axes.set_title(", ".join(words), fontsize=10, color=INK)


def _bland_altman(
    axes: Axes, name: str, mean: np.ndarray, difference: np.ndarray, limits: BlandAltman
) -> None:
    axes.scatter(mean, difference, s=16, color=POINTS, alpha=0.7, linewidths=0)
    axes.axhline(0, color=INK, linewidth=0.5)
    for value, style, text in (
        (limits.bias, "-", "bias"),
        (limits.low, "--", "- 1.96 SD"),
        (limits.high, "--", "+ 1.96 SD"),
    ):
        axes.axhline(value, color=LIMITS, linewidth=1.0, linestyle=style)
        axes.annotate(
            f"{text} {value:.3g}",
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=LIMITS,
        )
    axes.set_xlabel(f"mean of {name}")
    axes.set_ylabel("prediction - reference")
    axes.set_title("Bland-Altman", fontsize=10, color=INK)
