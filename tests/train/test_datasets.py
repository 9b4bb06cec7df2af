"""Labelled folders: HU calibration and the layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicomnode.train.calibration import linear_grey_to_hu
from dicomnode.train.cases import ADULT_LUNG_WIDTH_MM, DataError, LabelledCase, lung_width
from dicomnode.train.datasets import load_cases
from dicomnode.train.medseg import slice_lungs
from tests.train.labelled_folder import LESION, LUNG, TISSUE, make_linear_set


def test_grey_levels_become_the_hu_of_what_they_show(tmp_path: Path) -> None:
    make_linear_set(tmp_path)
    cases = load_cases(tmp_path)
    assert [case.name for case in cases] == ["case01", "case02", "case03"]
    for case in cases:
        lung, lesion = np.array(case.lung), np.array(case.lesion)
        hu = np.array(case.hu)
        assert np.median(hu[~lung]) == pytest.approx(45, abs=25)
        slope = 1045 / (TISSUE - 2)
        assert np.median(hu[lung & ~lesion]) == pytest.approx(-1000 + (LUNG - 2) * slope, abs=40)
        assert np.median(hu[lesion]) == pytest.approx(-1000 + (LESION - 2) * slope, abs=40)
        assert case.spacing_mm == pytest.approx(ADULT_LUNG_WIDTH_MM / max(map(lung_width, case.lung)))


def test_calibration_follows_a_slope_that_drifts_with_the_slice() -> None:
    rng = np.random.default_rng(0)
    lung = np.zeros((60, 60), dtype=np.bool_)
    lung[10:50, 10:50] = True
    greys = []
    for peak in np.linspace(84, 103, 20):
        hu = np.where(lung, -850.0, 45.0) + rng.normal(0, 15, lung.shape)
        hu[28:36, 28:36] = -1000
        greys.append((2 + (hu + 1000) / 1045 * (peak - 2)).clip(0, 255).astype(np.uint8))
    for hu in linear_grey_to_hu(greys, [lung] * 20):
        assert np.median(hu[~lung]) == pytest.approx(45, abs=25)
        assert np.median(hu[lung]) == pytest.approx(-850, abs=25)


def test_two_cases_of_the_public_linear_set_land_on_plausible_hu(data_dir: Path, tmp_path: Path) -> None:
    directory = data_dir / "covid10_linear"
    if not directory.is_dir():
        pytest.skip("no covid10_linear")
    for folder in ("img", "lung", "infection"):
        (tmp_path / folder).symlink_to(directory / folder)
    lines = (directory / "index.csv").read_text(encoding="utf-8").splitlines()
    chosen = [line for line in lines[1:] if line.startswith(("case06", "case10"))]
    (tmp_path / "index.csv").write_text("\n".join([lines[0], *chosen[::4]]), encoding="utf-8")
    cases = load_cases(tmp_path)
    assert [case.name for case in cases] == ["case06", "case10"]
    for case in cases:
        assert 0.6 < case.spacing_mm < 1.0
        normal = np.concatenate([h[m & ~t] for h, m, t in zip(case.hu, case.lung, case.lesion, strict=True)])
        assert -930 < np.median(normal) < -780


def test_the_medseg_layout_gives_both_kinds_of_lesion_in_the_radiological_view(data_dir: Path) -> None:
    directory = data_dir / "medseg_ggo_consolidation"
    if not directory.is_dir():
        pytest.skip("no medseg_ggo_consolidation")
    cases = load_cases(directory)
    assert len(cases) == 50
    wide = sum(case.hu[0].shape[1] > case.hu[0].shape[0] for case in cases)
    assert wide >= 40  # most chests are wider than deep
    medians = [
        np.median(c.hu[0][c.consolidation[0]])
        for c in cases
        if c.consolidation is not None and c.consolidation[0].sum() > 500
    ]
    ggo = [
        np.median(c.hu[0][c.lesion[0] & ~c.consolidation[0]])
        for c in cases
        if c.consolidation is not None and (c.lesion[0] & ~c.consolidation[0]).sum() > 500
    ]
    assert np.median(ggo) < -500 < np.median(medians)


def test_lungs_of_a_slice_take_in_a_dense_lesion_at_the_pleura() -> None:
    hu = np.full((120, 160), 40, dtype=np.int16)
    hu[20:100, 15:70] = hu[20:100, 90:145] = -870
    hu[60:64, 100:104] = 40  # a vessel
    hu[90:100, 110:120] = 0  # consolidation at the border
    lungs = slice_lungs(hu, 1.0)
    assert lungs[62, 102] and lungs[94, 115]
    assert not lungs[50, 80]  # the mediastinum between the lungs
    assert abs(int(lungs.sum()) - 2 * 80 * 55) < 200


def test_an_unknown_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no known layout"):
        load_cases(tmp_path)


def test_a_missing_or_coloured_picture_is_told_by_name(tmp_path: Path) -> None:
    make_linear_set(tmp_path, cases=1)
    picture = tmp_path / "img" / "case01_002.png"
    Image.new("RGB", (100, 72)).save(picture)
    with pytest.raises(DataError, match=r"case01_002.png is no 8-bit grey or palette picture but RGB"):
        load_cases(tmp_path)
    picture.unlink()
    with pytest.raises(DataError, match=r"case01_002.png can't be read"):
        load_cases(tmp_path)


def test_masks_of_another_shape_can_t_make_a_case() -> None:
    hu, mask = np.zeros((4, 5), dtype=np.int16), np.zeros((4, 5), dtype=np.bool_)
    with pytest.raises(DataError, match="slice 0 and its masks differ in shape"):
        LabelledCase("x", [hu], [mask], [mask.T], 1.0)
    with pytest.raises(DataError, match="differ in number"):
        LabelledCase("x", [hu], [mask], [], 1.0)
