"""The cards as they are installed, and plots with the numbers of their tables."""

from __future__ import annotations

import csv
import re
import shutil
from html import unescape
from pathlib import Path
from statistics import mean, stdev

import pytest

from dicomnode.segment.card import models_directory
from dicomnode.web.charts import bland_altman
from dicomnode.web.doorkeeper import AccessRules, Doorkeeper
from dicomnode.web.models_page import ModelsPage, installed_models
from dicomnode.web.site import Pages, Site
from tests.web.asking import text_of


def page(folder: Path | None = None) -> str:
    pages = Pages([], has_login=False)
    routes = ModelsPage(pages, {"best": ("finds lesions",)}, folder).routes
    return text_of(Site(Doorkeeper(AccessRules()), pages, routes), "/models")


def test_every_installed_model_is_there_the_one_in_use_first() -> None:
    text = page()
    names = [path.parent.name for path in models_directory().glob("*/model.toml")]
    shown = re.findall(r'id="model-(\w+)"', text)
    assert sorted(shown) == sorted(names)
    assert shown[0] == "best"
    (best, *_) = installed_models(models_directory(), {"best": ("x",)})
    for one in best.card["figures"]:
        assert f"{one['dice_mean']:.3f} ± {one['dice_sd']:.3f}" in text
    for limit in best.card["limits"]:
        assert limit in unescape(text)
    assert best.card["weights"]["sha256"] in text


def test_the_plot_has_bias_and_limits_of_the_held_out_cases() -> None:
    with (models_directory() / "best" / "held_out.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "slice" and row["part"] == "whole"]
    differences = [float(row["found_ml"]) - float(row["true_ml"]) for row in rows]
    bias, spread = mean(differences), 1.96 * stdev(differences)
    text = page()
    (told,) = re.findall(
        rf"single held-out slices, {len(rows)} points: mean difference (\S+) mL, "
        r"limits of agreement (\S+) to (\S+) mL",
        text,
    )
    numbers = [float(number.replace("\u2212", "-")) for number in told]
    assert numbers == pytest.approx([bias, bias - spread, bias + spread], rel=0.02)


def test_points_lie_at_mean_and_difference() -> None:
    plot = bland_altman([(10.0, 12.0), (20.0, 18.0), (30.0, 33.0)], "test", "mL")
    points = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', plot)]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[1][1] > points[0][1] > points[2][1], "a larger difference lies higher"
    (bias,) = re.findall(r'class="bias"[^>]*y1="([\d.]+)"', plot)
    assert min(y for _, y in points) < float(bias) < max(y for _, y in points)


def test_a_broken_card_hides_no_other(tmp_path: Path) -> None:
    for name in ("best", "lobes"):
        (tmp_path / name).mkdir()
        shutil.copy(models_directory() / name / "model.toml", tmp_path / name)
    (tmp_path / "best" / "model.toml").write_text("not TOML", encoding="utf-8")
    assert re.findall(r'id="model-(\w+)"', page(tmp_path)) == ["lobes"]
    (tmp_path / "none").mkdir()
    assert "No model is installed." in page(tmp_path / "none")
