"""Every command that the documents print is run: here, as on a first day, or by a test that is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicomnode.demo.node_process import NodeProcess
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from tests.cohort.simulated_patients import simulate, write_table
from tests.conftest import REPOSITORY
from tests.dicom_network import storescp, until
from tests.document_commands import document_commands
from tests.train.labelled_folder import make_linear_set

PHANTOM = (
    "python -m dicomnode.phantom ct/${scan%:*} --ct-matrix 150 192 192 --seed 5 --study-date ${scan%:*} "
    "--lesion ggo:${scan#*:}:right_lower"
)
HERE = (
    "dicomnode models",
    "dicomnode check",
    "dicomnode check --config /etc/dicomnode/dicomnode.toml",
    "dicomnode send FOLDER --to DICOMNODE@127.0.0.1:11112",
    "dicomnode status",
    "sudo -u dicomnode dicomnode status",
    "dicomnode status --state failed --json",
    "dicomnode show SERIES",
    "dicomnode retry SERIES",
    "dicomnode purge --older-than 30 --dry-run",
    "dicomnode purge --older-than 30",
    "dicomnode purge --older-than 0 --state failed",
    "dicomnode purge SERIES",
    "dicomnode analyze FOLDER --out RESULTS",
    "dicomnode cohort ARCHIVE --out COHORT",
    "dicomnode agree REFERENCE PREDICTION",
    "dicomnode prognosis PATIENTS.csv --outcome COLUMN --plot roc.png",
    "dicomnode evaluate best --data DATA/covid10_linear",
    "dicomnode evaluate medip_unet2d --data DATA/covid10_linear",
)
"""Run on a small phantom, a small labelled set and simulated patients."""

SYSTEMD = "tests/test_systemd.py::test_user_and_directories_are_made"
UNIT = "tests/test_daemon.py::test_a_study_is_answered_and_drained_under_the_units_restrictions"
TINY = "tests/train/test_documented_model.py::test_the_worked_example_trains_is_installed_and_finds_lesions"
BEST = "tests/train/test_ensemble.py::test_each_case_is_judged_by_members_that_never_saw_it"
OTHER = "tests/train/test_ensemble.py::test_another_protocol_trains_as_many_members_as_it_has_folds"
HELD_OUT = "test_held_out_cases_are_measured_part_by_part_by_members_that_never_saw_them"
ERROR = f"tests/train/test_ensemble.py::{HELD_OUT}"
SURETY = "python -m dicomnode.train.surety"
COMMANDS = "tests/train/test_training.py::test_the_commands_train_and_evaluate_from_outside"
LOBES = "tests/train/test_lobe_training.py::test_the_command_scores_a_folder"
LUNGS = "tests/train/test_lung_training.py::test_loss_falls_dice_rises_and_an_interrupted_run_goes_on"
CORRIDOR = "tests/end_to_end/test_corridor.py::test_the_series_is_delivered"
VIEWER = "tests/end_to_end/test_viewer.py::test_every_segment_is_listed_by_its_name_and_colour"
SERIAL = "tests/end_to_end/test_serial_scans.py::test_a_patient_is_followed_over_nodes_and_without_a_pacs"
CLUSTER = "tests/cluster/test_losses.py::test_the_cluster_comes_and_goes"
COHORT = "tests/cluster/test_cohort.py::test_rows_are_the_same_wherever_they_are_measured"
RECEIVER = "ray start --address 192.0.2.11:6379 --node-ip-address 192.0.2.10 --num-cpus 0"
ELSEWHERE = {
    f"{RECEIVER} --disable-usage-stats": CLUSTER,
    "dicomnode cohort ARCHIVE --out COHORT --cluster 192.0.2.11:6379": COHORT,
    "make demo": CORRIDOR,
    "make test": CORRIDOR,
    "make viewer [CT=folder]": VIEWER,
    "python -m tests.end_to_end.viewer_demonstration CT docs/images/viewer_ohif.png": VIEWER,
    PHANTOM: SERIAL,
    "dicomnode analyze ct --out results": SERIAL,
    'curl -H "Authorization: Bearer TOKEN" http://127.0.0.1:8104/metrics': (
        "tests/end_to_end/test_monitoring.py::test_metrics_hold_nothing_of_the_patient_and_want_the_token"
    ),
    "dicomnode train tiny --data DATA/covid10_linear --out runs/tiny": TINY,
    "dicomnode evaluate tiny --data DATA/covid10_linear --json": TINY,
    "dicomnode analyze DIRECTORY --model tiny": TINY,
    "dicomnode train best --data DATA --out runs/best": BEST,
    "dicomnode train best --protocol cross_validation.toml --data DATA --out RUN": OTHER,
    "dicomnode evaluate best --data DATA/covid10_linear --cross-validate": BEST,
    "dicomnode evaluate best --data DATA/medseg_ggo_consolidation --cross-validate": BEST,
    f"{SURETY} best --data DATA/covid10_linear": ERROR,
    f"{SURETY} --table models/best/held_out.csv --trained models/best RUN --data DATA": ERROR,
    "dicomnode train medip_unet2d --data DATA --out runs/medip": COMMANDS,
    "dicomnode evaluate medip_unet2d --data DATA/medseg_ggo_consolidation": COMMANDS,
    "dicomnode train lobes --data DATA --out runs/lobes": LOBES,
    "dicomnode evaluate lobes --data DATA/luna16_lobe_masks": LOBES,
    "dicomnode evaluate lobes --data DATA/totalseg_masks": LOBES,
    "dicomnode train lungs --data DATA --out runs/lungs --minutes 60": LUNGS,
    "dicomnode evaluate lungs --data DATA/imlab_chest_ct": LUNGS,
    "dicomnode evaluate lungs --data DATA/covid20_clahe": LUNGS,
    "systemctl enable --now dicomnode": UNIT,
    "systemctl daemon-reload": UNIT,
    "systemctl start dicomnode": UNIT,
    "systemctl stop dicomnode": UNIT,
    "systemd-sysusers dicomnode.conf": SYSTEMD,
    "systemd-tmpfiles --create dicomnode.conf": SYSTEMD,
}
"""Those that take long, need root or a figure's own data: what they do is done by these tests."""

BY_HAND = {
    "python3 -m pip install build",
    "python3 -m build",
    "python3 -m venv /opt/dicomnode",
    "python benchmarks/lung_accuracy.py",
    "python benchmarks/phantom_accuracy.py",
}
"""What isn't ours, and measurements that take minutes: a benchmark only has to be importable."""


def test_every_command_of_the_documents_has_a_test_and_no_other() -> None:
    printed = {command.line for command in document_commands()}
    known = {*HERE, *ELSEWHERE, *BY_HAND}
    assert printed - known == set(), "nobody runs these"
    assert known - printed == set(), "no document prints these"


def test_the_tests_that_are_named_exist() -> None:
    for named in set(ELSEWHERE.values()):
        file, _, function = named.partition("::")
        assert f"\ndef {function}(" in (REPOSITORY / file).read_text(encoding="utf-8"), named


@pytest.mark.parametrize("line", sorted(line for line in BY_HAND if "benchmarks/" in line))
def test_a_benchmark_explains_itself(line: str) -> None:
    command = [sys.executable, *line.split()[1:], "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass
class Desk:
    """A folder, a node and its PACS, and what the documents' words stand for here."""

    folder: Path
    environment: dict[str, str]
    words: dict[str, str]
    series: dict[str, str] = field(default_factory=dict)

    def run(self, line: str) -> str:
        """Type a line of a document; its output."""
        typed = line.removeprefix("sudo -u dicomnode ")
        known = self.words | (
            {"SERIES": self.series["refused" if "retry" in line else "measured"]} if self.series else {}
        )
        words = [self._here(word, known) for word in typed.split()]
        command = [sys.executable, "-m", "dicomnode.cli", *words[1:]]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @staticmethod
    def _here(word: str, known: dict[str, str]) -> str:
        first, slash, rest = word.partition("/")
        return known.get(word) or (f"{known[first]}{slash}{rest}" if first in known else word)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A node with a PACS, and all that the commands take."""
    folder = tmp_path_factory.mktemp("desk")
    phantom = [sys.executable, "-m", "dicomnode.phantom", "measured", "--ct-matrix", "110", "128", "128"]
    subprocess.run([*phantom, "--seed", "5"], check=True, capture_output=True, cwd=folder)
    _cut_short(folder / "measured", folder / "refused")
    make_linear_set(folder / "data" / "covid10_linear")
    write_table(simulate(11, 400, by="ct_ss"), folder / "patients.csv")
    with storescp(folder) as (pacs_port, _):
        node = NodeProcess(folder / "node", "PACS", pacs_port, "cpu", quiet_seconds=0.5)
        node.start()
        variables = {
            "DICOMNODE_SPOOL__DIRECTORY": str(node.spool_directory),
            "DICOMNODE_NODE__PORT": str(node.port),
        }
        words = {
            "FOLDER": str(folder / "measured"),
            "ARCHIVE": str(folder / "measured"),
            "DATA": str(folder / "data"),
            "PATIENTS.csv": str(folder / "patients.csv"),
            "COLUMN": "poor",
            "/etc/dicomnode/dicomnode.toml": str(node.config_path),
            "DICOMNODE@127.0.0.1:11112": f"DICOMNODE@127.0.0.1:{node.port}",
        }
        try:
            yield Desk(folder, {**os.environ, **variables}, words)
        finally:
            node.stop()


def _cut_short(folder: Path, to: Path) -> None:
    """Five slices as a series of their own: too few for lungs."""
    to.mkdir()
    series = generate_uid(entropy_srcs=["cut short"])
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))[:5]):
        slice_ = dcmread(path)
        slice_.SeriesInstanceUID = series
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=["cut short", str(number)]
        )
        slice_.save_as(to / path.name)


def test_the_commands_of_a_first_day(desk: Desk) -> None:
    spool = Path(desk.environment["DICOMNODE_SPOOL__DIRECTORY"])

    def ended() -> dict[str, str]:
        ledger = Ledger(spool / LEDGER_NAME)
        try:
            states = {series.state.value: str(series.id) for series in ledger.list_series()}
            return states if not ledger.outbox.backlog() else {}
        finally:
            ledger.close()

    for line in HERE:
        if line == "dicomnode agree REFERENCE PREDICTION":
            _make_masks(desk)
        desk.run(line)
        if line.startswith("dicomnode send"):
            desk.run(line.replace("FOLDER", str(desk.folder / "refused")))
            until(lambda: {"delivered", "refused"} <= ended().keys(), 120)
            desk.series = {"measured": ended()["delivered"], "refused": ended()["refused"]}
    assert (desk.folder / "RESULTS").is_dir()
    assert (desk.folder / "COHORT" / "cohort.csv").is_file()
    assert (desk.folder / "roc.png").is_file()


def _make_masks(desk: Desk) -> None:
    """Two readers of one chest, of whom the second saw a little more."""
    for reader, columns in (("REFERENCE", 20), ("PREDICTION", 24)):
        mask = np.zeros((8, 32, 32), np.uint8)
        mask[2:6, 8:24, 4:columns] = 1
        (desk.folder / reader).mkdir()
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(mask), desk.folder / reader / "case01.nii.gz")
