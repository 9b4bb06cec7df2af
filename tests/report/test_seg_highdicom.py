"""The SEG element by element against the one that highdicom makes of the same masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from benchmarks.highdicom_seg import build_with_highdicom, differences, saved
from dicomnode.assemble.assemble import assemble_series
from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.report.header import ObjectUids
from dicomnode.report.segments import segments_of
from dicomnode.segment.segmentation import Lobe
from tests.report.report_cases import Case, crude_masks, make_case
from tests.report.test_seg import unpack

LEGITIMATE = {
    "InstanceCreationDate": "highdicom's day of today; ours would differ on every run",
    "InstanceCreationTime": "as the date",
    "SeriesDate": "ours is the source's",
    "SeriesTime": "ours is the source's",
    "ContentDate": "ours is the source's",
    "ContentTime": "ours is the source's",
    "ContributingEquipmentSequence": "ours names the scanner, highdicom's itself",
    "SourceImageSequence": "the source images stand in the Common Instance Reference and with each frame",
    "BodyPartExamined": "ours says CHEST",
    "ContentCreatorName": "type 2, empty with us",
    "PositionReferenceIndicator": "type 2, empty with us; highdicom takes it from the source",
    "PresentationLUTShape": "no element of a segmentation",
    "LossyImageCompression": "ours says 00 where the source says nothing",
    "DimensionOrganizationSequence.DimensionOrganizationUID": "a new UID",
    "DimensionIndexSequence.DimensionOrganizationUID": "a new UID",
    "DimensionIndexSequence.DimensionDescriptionLabel": "a label for people",
    "PatientAge": "highdicom leaves it out",
    "SpecificCharacterSet": "highdicom fills it in where the source has none",
}
OF_FRAMES = ("PerFrameFunctionalGroupsSequence", "PixelData")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A chest with all nine segments and more: both lungs, five lobes, three kinds of lesion."""
    lesions = (
        LesionSpec(LesionKind.GGO, 60.0, Lobe.RIGHT_LOWER),
        LesionSpec(LesionKind.CONSOLIDATION, 25.0, Lobe.LEFT_UPPER),
    )
    truth = build_phantom(PhantomSpec.whole_lung((48, 96, 96), seed=3, lesions=lesions))
    volume = assemble_series(write_series(truth, tmp_path_factory.mktemp("phantom")))
    return make_case(volume, truth.labels, truth.sides, truth.lobes)


@pytest.fixture(scope="module")
def patient(data_dir: Path) -> Case:
    """Neighbouring slices of the RICORD patient, with masks of real complexity."""
    volume = assemble_series(sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[100:144])
    return make_case(volume, *crude_masks(volume.hu))


def frames_of(seg: Dataset) -> dict[tuple[int, str], tuple[Dataset, NDArray[np.uint8]]]:
    """Functional groups and pixels by segment and source image."""
    found = {}
    for groups, pixels in zip(seg.PerFrameFunctionalGroupsSequence, unpack(seg), strict=True):
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        source = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        found[number, str(source)] = groups, pixels
    return found


@pytest.mark.parametrize("name", ["phantom", "patient"])
def test_all_but_what_is_legitimate_is_highdicoms(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    case: Case = request.getfixturevalue(name)
    file = case.build(tmp_path / "out")[0]
    ours = dcmread(file.path)
    segments = segments_of(case.segmentation)
    reference = build_with_highdicom(
        case.volume,
        case.segmentation,
        segments,
        uids=ObjectUids(
            sop_class_uid=file.sop_class_uid,
            series_instance_uid=file.series_instance_uid,
            sop_instance_uid=file.sop_instance_uid,
        ),
        tracking=[str(item.TrackingUID) for item in ours.SegmentSequence],
        series_number=int(ours.SeriesNumber),
        software=list(ours.SoftwareVersions),
    )
    theirs = dcmread(saved(reference, tmp_path / "highdicom.dcm"))
    assert len(segments) == (11 if name == "phantom" else 6)
    found = {path: (own, other) for path, own, other in differences(ours, theirs)}
    unexplained = {path: values for path, values in found.items() if not path.startswith(OF_FRAMES)}
    assert not {path: unexplained[path] for path in unexplained.keys() - LEGITIMATE.keys()}

    own, other = frames_of(ours), frames_of(theirs)
    assert own.keys() == other.keys()
    indices: list[tuple[int, int]] = []
    for key, (groups, pixels) in own.items():
        reference_groups, reference_pixels = other[key]
        np.testing.assert_array_equal(pixels, reference_pixels)
        (number, index), (reference_number, reference_index) = (
            one.FrameContentSequence[0].DimensionIndexValues for one in (groups, reference_groups)
        )
        assert number == reference_number
        indices.append((index, reference_index))
        del groups.FrameContentSequence, reference_groups.FrameContentSequence
        assert not list(differences(groups, reference_groups)), key
    by_ours = [there for _, there in sorted(set(indices))]
    assert by_ours in (sorted(by_ours), sorted(by_ours, reverse=True)), "frames follow the slices' order"
