"""A chest CT goes in by storescu; SEG and SR come out of the PACS and say the same as everybody else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy import ndimage

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.volume import Volume
from dicomnode.demo.read_back import LOBES, reported_values, segment_masks
from dicomnode.measure.regions import lesion_density_g_per_ml
from tests.end_to_end.conftest import Hospital

HALF_A_DIGIT = 0.006
"""The report rounds HU to 0.01, volumes, extents and weight to 0.001."""

LUNGS, RIGHT, LEFT = ("39607008", "51440002"), ("39607008", "24028007"), ("39607008", "7771000")
LESION, GGO, CONSOLIDATION = ("52988006", ""), ("112120", ""), ("95436008", "")


class Answer:
    """What came back for one CT, read from the PACS."""

    def __init__(self, hospital: Hospital, files: list[Path]) -> None:
        header = dcmread(files[0], stop_before_pixels=True)
        subprocess.run(["storescu", "-xs", *hospital.address, *map(str, files)], check=True)
        self.status = hospital.wait_for(header.SeriesInstanceUID)
        self.show = hospital.dicomnode("show", self.status["id"])
        found = hospital.client.find_series(header.StudyInstanceUID)
        self.objects = {
            series.modality: hospital.client.get_series(header.StudyInstanceUID, series.series_instance_uid)
            for series in found
            if series.modality in ("SEG", "SR")
        }
        self.volume = assemble_series(files)
        self.source = header

    @property
    def seg(self) -> Dataset:
        """The only SEG of the study."""
        (seg,) = self.objects["SEG"]
        return seg

    @property
    def sr(self) -> Dataset:
        """The only SR of the study."""
        (sr,) = self.objects["SR"]
        return sr


@pytest.fixture(scope="module", params=["cip_ct64_chest", "ricord_covid_chest"])
def answer(request: pytest.FixtureRequest, hospital: Hospital, data_dir: Path) -> Answer:
    """Real chest CTs: a small one, and a whole one of a patient with COVID-19 in JPEG Lossless."""
    if shutil.which("storescu") is None:
        pytest.skip("storescu is not installed")
    return Answer(hospital, sorted((data_dir / request.param).glob("*.dcm")))


def test_the_series_is_delivered(answer: Answer) -> None:
    assert answer.status["state"] == "delivered", answer.status
    assert {d["state"] for d in answer.show["deliveries"]} == {"delivered"}


def test_seg_and_sr_are_in_the_study_of_the_patient(answer: Answer) -> None:
    for dataset in (answer.seg, answer.sr):
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
            assert dataset.get(keyword) == answer.source.get(keyword), keyword
    assert answer.seg.FrameOfReferenceUID == answer.volume.frame_of_reference_uid


def test_each_number_is_what_a_reader_measures_on_the_seg_and_the_ct(answer: Answer) -> None:
    values = {(v.finding, v.laterality, v.concept): v.value for v in reported_values(answer.sr)}
    measured = independent_measurements(answer.seg, answer.volume)
    measured |= independent_scores(answer.seg, answer.volume)
    for key, value in measured.items():
        assert values[key] == pytest.approx(value, abs=HALF_A_DIGIT), key


def test_separate_lesions_are_those_that_a_reader_finds_in_the_seg(answer: Answer) -> None:
    masks = segment_masks(answer.seg, answer.volume)
    ml = float(np.prod(answer.volume.spacing_mm)) / 1000
    found = []
    for side in (RIGHT, LEFT):
        labels, _ = ndimage.label(masks[LESION] & masks[side], np.ones((3, 3, 3)))
        found += [size * ml for size in np.bincount(labels.ravel())[1:]]
    found.sort(reverse=True)
    values = reported_values(answer.sr)
    (count,) = (v.value for v in values if v.contract_path == ("lesion_count",))
    assert count == len(found)
    listed = [v.value for v in values if v.concept == "SEPARATE_LESION"]
    assert listed == pytest.approx(found[: len(listed)], abs=HALF_A_DIGIT)
    assert len(listed) == min(5, sum(volume >= 0.1 for volume in found))


def test_the_numbers_of_the_sr_are_those_of_measurements_json(answer: Answer) -> None:
    record = json.loads((Path(answer.show["directory"]) / "measurements.json").read_text(encoding="utf-8"))
    compared = 0
    for value in reported_values(answer.sr):
        found: Any = record
        assert value.contract_path, f"no name for {value}"
        for name in value.contract_path:
            found = found[name]
        assert value.value == found, value
        compared += 1
    assert compared >= 120
    assert set(record["provenance"]) >= {"model", "weights_sha256", "config_sha256", "input_sha256", "device"}


def test_masks_nest_and_lie_where_the_lungs_are(answer: Answer) -> None:
    masks = segment_masks(answer.seg, answer.volume)
    assert np.array_equal(masks[LUNGS], masks[RIGHT] ^ masks[LEFT])
    assert np.array_equal(masks[LESION], masks[GGO] ^ masks[CONSOLIDATION])
    assert not np.any(masks[LESION] & ~masks[LUNGS])
    for side, name, count in ((RIGHT, "RIGHT", 3), (LEFT, "LEFT", 2)):
        lobes = [masks[kind] for kind, lobe in LOBES.items() if lobe.name.startswith(name)]
        assert len(lobes) == count and all(lobe.any() for lobe in lobes)
        assert np.array_equal(np.sum(lobes, axis=0, dtype=np.uint8), masks[side].astype(np.uint8))
    right, left = (centroid_mm(masks[side], answer.volume) for side in (RIGHT, LEFT))
    assert right[0] < left[0], "the patient's left is +x"


def test_dciodvfy_finds_no_error(answer: Answer, tmp_path: Path) -> None:
    dciodvfy = shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or shutil.which("dciodvfy")
    if dciodvfy is None:
        pytest.skip("dciodvfy is not installed")
    for dataset in (answer.seg, answer.sr):
        path = tmp_path / f"{dataset.Modality}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        told = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False)
        assert not [line for line in told.stderr.splitlines() if line.startswith("Error")], told.stderr


def test_sending_it_again_changes_nothing(answer: Answer, hospital: Hospital) -> None:
    files = [instance.path for instance in answer.volume.instances]
    subprocess.run(["storescu", "-xs", *hospital.address, *map(str, files[:5])], check=True)
    again = hospital.wait_for(answer.volume.series_instance_uid)
    assert (again["state"], again["generation"]) == (answer.status["state"], answer.status["generation"])
    assert again["instances"] == len(files)


def test_the_log_names_no_patient(answer: Answer, hospital: Hospital) -> None:
    log = hospital.log()
    assert answer.status["id"] in log
    for keyword in ("PatientID", "PatientName"):
        identifier = str(answer.source.get(keyword, ""))
        assert not identifier or identifier not in log


def independent_measurements(seg: Dataset, volume: Volume) -> dict[tuple[str, str, str], float]:
    """Volumes, means and weight from the masks in the SEG and the HU of the CT, in plain numpy."""
    masks = segment_masks(seg, volume)
    ml = float(np.prod(volume.spacing_mm)) / 1000
    hu = volume.hu
    measured = {}
    for kind in (LUNGS, RIGHT, LEFT):
        lung = masks[kind]
        measured[*kind, "118565006"] = lung.sum() * ml
        measured[*kind, "112031"] = hu[lung].mean()
        measured[*kind, "GGO_VOLUME"] = (lung & masks[GGO]).sum() * ml
        measured[*kind, "CONSOL_VOLUME"] = (lung & masks[CONSOLIDATION]).sum() * ml
        measured[*kind, "LESION_EXTENT"] = 100 * (lung & masks[LESION]).sum() / lung.sum()
    lesion = masks[LESION]
    if lesion.any():
        weight = lesion_density_g_per_ml(hu[lesion].astype(np.float64)).sum() * ml
        measured[*LESION, "118538004"] = weight
        measured[*LESION, "112031"] = hu[lesion].mean()
    return measured


def independent_scores(seg: Dataset, volume: Volume) -> dict[tuple[str, str, str], float]:
    """The CT score from the lobes in the SEG, by the table of the report, and shares of the histogram."""
    masks = segment_masks(seg, volume)
    scored = {}
    for kind in LOBES:
        share = 100 * (masks[kind] & masks[LESION]).sum() / masks[kind].sum()
        bands = sum(map(int, (share >= 5, share > 25, share >= 50, share > 75)))
        lesion_mm3 = (masks[kind] & masks[LESION]).sum() * float(np.prod(volume.spacing_mm))
        scored[*kind, "LOBE_SCORE"] = float(1 + bands) if lesion_mm3 >= 1000 and share >= 0.5 else 0.0
    hu = volume.hu[masks[LUNGS]].astype(np.float64)
    return scored | {
        (*LUNGS, "CT_SCORE"): sum(scored.values()),
        (*LUNGS, "INVOLVED_LOBES"): float(sum(value > 0 for value in scored.values())),
        (*LUNGS, "LAA_950"): 100 * float(np.mean(hu < -950)),
        (*LUNGS, "112182"): float(np.percentile(hu, 50, method="inverted_cdf")),
        (*LUNGS, "112183"): float(hu.std()),
    }


def centroid_mm(mask: np.ndarray, volume: Volume) -> np.ndarray:
    """Centre of a mask in patient coordinates."""
    z, y, x = (axis.mean() for axis in np.nonzero(mask))
    return (volume.affine @ np.array([x, y, z, 1.0]))[:3]
