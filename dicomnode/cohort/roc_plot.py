"""ROC curves of the models in one picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from dicomnode.cohort.prognosis import Prognosis

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "dicomnode"  # the same picture has the same bytes

INK, COLOURS = "#1d2733", {"A": "#8b98a5", "B": "#c2562d", "C": "#1f6f8b"}
ADDED = {"A": "characteristics", "B": "A + CT-SS", "C": "A + lesion extent"}


def plot_roc(found: Prognosis, path: Path) -> None:
    """Write the picture; the format follows the suffix, ``.png`` or ``.svg``."""
    figure = Figure(figsize=(5.2, 5.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":")
    for model in found.models:
        interval = model.test.interval
        words = f"{model.name} ({ADDED[model.name]}): {model.test.value:.2f}"
        words += f" [{interval.low:.2f}, {interval.high:.2f}]" if interval else ""
        colour = COLOURS[model.name]
        # straight lines over ties, as the C-statistic counts them
        axes.plot(
            model.curve.false_positive_rate, model.curve.sensitivity, color=colour, linewidth=1.6, label=words
        )
        axes.plot(1 - model.tested.specificity, model.tested.sensitivity, "o", color=colour, markersize=5)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    whom = "held out" if found.held_out else "that the models were fitted to"
    axes.set_title(
        f"{found.test_patients} patients {whom}, {found.test_events} with the outcome", fontsize=10
    )
    axes.legend(
        loc="lower right",
        fontsize=8,
        frameon=False,
        title="model: C-statistic [95 %]; dot: cut-off of training",
    )
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
