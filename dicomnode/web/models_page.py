"""The installed models: what they are for, what they were trained on, and how well they do."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dicomnode.segment.card import models_directory
from dicomnode.segment.card_file import CARD_FILE, ModelError, read_document
from dicomnode.web.charts import bland_altman
from dicomnode.web.messages import Response
from dicomnode.web.site import Call, Pages, Route

LOGGER = logging.getLogger(__name__)

HELD_OUT = "held_out.csv"
PLOTS = (
    ("patient", "whole", "Whole lungs of held-out patients"),
    ("patient", "lobe", "Parts of their lungs of the size of a lobe"),
    ("slice", "whole", "Single held-out slices"),
)
"""Kind of case, size of part, and what they are."""


@dataclass(frozen=True)
class Model:
    """A card as it stands in its file, and the plots of its held-out cases."""

    name: str
    kind: str
    card: Mapping[str, Any]
    plots: Sequence[tuple[str, Markup]] = ()
    uses: tuple[str, ...] = field(default=())


class ModelsPage:
    """``/models``; read once, for models change only while the node is stopped.

    Parameters
    ----------
    used:
        What the node uses each model for, by name.
    """

    def __init__(self, pages: Pages, used: Mapping[str, tuple[str, ...]], folder: Path | None = None) -> None:
        self._pages = pages
        self._models = installed_models(folder or models_directory(), used)

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        return [Route("GET", "/models", self._page)]

    def _page(self, _call: Call) -> Response:
        return self._pages.page("models.html", title="Models", models=self._models)


def installed_models(folder: Path, used: Mapping[str, tuple[str, ...]]) -> list[Model]:
    """All models of a folder, those in use first. The worker checks their weights, nobody here."""
    found = []
    for path in sorted(folder.glob(f"*/{CARD_FILE}")):
        try:
            card = read_document(path.parent)
            name = str(card["name"])
        except (ModelError, KeyError) as error:
            LOGGER.warning("a model's card is not shown: %s", error)
            continue
        plots = _plots(path.parent / HELD_OUT)
        found.append(Model(name, str(card.get("kind", "lesions")), card, plots, used.get(name, ())))
    return sorted(found, key=lambda model: (not model.uses, model.name))


def _plots(path: Path) -> list[tuple[str, Markup]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for kind, size, words in PLOTS:
        pairs = [
            (float(row["true_ml"]), float(row["found_ml"]))
            for row in rows
            if row["kind"] == kind and row["part"].split("-")[0] == size
        ]
        if len(pairs) > 2:
            title = f"{words} ({len(pairs)})"
            found.append((title, bland_altman(pairs, words.lower(), "mL")))
    return found
