"""Key objects and presentation state: legal, on the key slices, around the lesions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.ko import KeyObjectSelectionDocument
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.report import presentation_state
from dicomnode.report.planes import AXIAL_COUNT, PatientView
from dicomnode.report.result_set import FurtherResults, ResultFile
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct


def made(case: Case, out: Path) -> dict[str, ResultFile]:
    return {file.kind: file for file in case.build(out, further=FurtherResults.of(["ko", "gsps"]))}


def key_instances(case: Case) -> list[str]:
    view = PatientView(case.volume, case.segmentation)
    slices = [view.slice_number(index) for index in view.key_slices(AXIAL_COUNT)]
    return [case.volume.instances[z].sop_instance_uid for z in slices]


def polygons_on(state: Dataset, instance: str, layer: str) -> list[np.ndarray]:
    return [
        np.reshape(graphic.GraphicData, (-1, 2))
        for item in state.GraphicAnnotationSequence
        if item.GraphicLayer == layer and item.ReferencedImageSequence[0].ReferencedSOPInstanceUID == instance
        for graphic in item.GraphicObjectSequence
    ]


@pytest.mark.parametrize("name", ["case", "cip", "ricord"])
def test_both_are_legal(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    files = made(request.getfixturevalue(name), tmp_path)
    assert validate(files["ko"].path) == [] and validate(files["gsps"].path) == []


def test_the_selection_points_to_the_slices_of_the_page(case: Case, tmp_path: Path) -> None:
    dataset = dcmread(made(case, tmp_path)["ko"].path)
    document = KeyObjectSelectionDocument.from_dataset(dataset)
    references = document.content.get_references()
    assert [item.referenced_sop_instance_uid for item in references] == key_instances(case)
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "113000"
    assert (dataset.Modality, dataset.SeriesNumber) == ("KO", 398)
    images = [item for item in dataset.ContentSequence if item.ValueType == "IMAGE"]
    assert all("ConceptNameCodeSequence" not in item for item in images), "TID 2010 gives none"
    evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert [one.ReferencedSOPInstanceUID for one in evidence.ReferencedSOPSequence] == key_instances(case)


def test_the_outlines_enclose_the_lesions(case: Case, tmp_path: Path) -> None:
    state = dcmread(made(case, tmp_path)["gsps"].path)
    for z, instance in enumerate(case.volume.instances):
        for label, layer in ((2, "GGO"), (3, "CONSOLIDATION")):
            mask = case.segmentation.labels[z] == label
            polygons = polygons_on(state, instance.sop_instance_uid, layer)
            if instance.sop_instance_uid not in key_instances(case):
                assert polygons == []
                continue
            image = Image.new("1", (mask.shape[1] * 4, mask.shape[0] * 4), 0)
            for polygon in polygons:
                ImageDraw.Draw(image).polygon([tuple(point * 4 - 0.5) for point in polygon], fill=1)
            np.testing.assert_array_equal(np.asarray(image)[2::4, 2::4], mask)
    layers = {layer.GraphicLayer for layer in state.GraphicLayerSequence}
    assert layers == {item.GraphicLayer for item in state.GraphicAnnotationSequence}


def test_a_long_outline_is_cut_into_pieces_that_fit(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dcmread(made(case, tmp_path / "whole")["gsps"].path)
    monkeypatch.setattr(presentation_state, "MOST_POINTS", 3)
    cut = dcmread(made(case, tmp_path / "cut")["gsps"].path)
    instance = whole.GraphicAnnotationSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID
    layer = whole.GraphicAnnotationSequence[0].GraphicLayer
    (polygon,), pieces = (polygons_on(state, instance, layer) for state in (whole, cut))
    assert [len(piece) for piece in pieces] == [3, 3]
    np.testing.assert_array_equal(np.concatenate([pieces[0], pieces[1][1:]]), polygon)


def test_without_a_lesion_there_are_key_slices_but_no_outlines(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    labels[labels > 1] = 1
    files = made(make_case(write_ct(tmp_path / "ct", hu, axial_affine()), labels, sides), tmp_path)
    assert "ko" in files and "gsps" not in files
    assert not (tmp_path / "gsps.dcm").exists()


def test_images_of_another_rescale_are_not_in_the_state(case: Case, tmp_path: Path) -> None:
    """One presentation state has one Modality LUT."""
    other = key_instances(case)[-1]
    path = next(one.path for one in case.volume.instances if one.sop_instance_uid == other)
    dataset = dcmread(path)
    dataset.RescaleIntercept = "-1024"
    dataset.save_as(path)
    state = dcmread(made(replace(case), tmp_path)["gsps"].path)
    (series,) = state.ReferencedSeriesSequence
    referenced = [one.ReferencedSOPInstanceUID for one in series.ReferencedImageSequence]
    assert referenced == key_instances(case)[:-1]
    assert (state.RescaleIntercept, state.RescaleSlope) == (0, 1)


def test_the_same_input_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    first, second = made(case, tmp_path / "a"), made(case, tmp_path / "b")
    for kind in ("ko", "gsps"):
        assert first[kind].path.read_bytes() == second[kind].path.read_bytes()
