"""The demonstration, step by step."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.series import SeriesFiles, find_series
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.sender import SendOutcome, send_files
from dicomnode.demo.node_process import NodeDidNotStartError, NodeProcess
from dicomnode.demo.ohif import OhifError, fetch_ohif
from dicomnode.demo.orthanc import DICOMWEB, DICOMWEB_PLUGIN, OrthancPacs, PacsError, find_orthanc, free_port
from dicomnode.demo.pacs import SmallPacs
from dicomnode.demo.pacs_client import FoundSeries, PacsClient
from dicomnode.demo.phantom_ct import write_phantom_ct
from dicomnode.demo.read_back import segmentation_from
from dicomnode.demo.table import measurement_table
from dicomnode.demo.viewer import ViewerServer
from dicomnode.pipeline import measure_volume
from dicomnode.report.result_set import ResultKind
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from dicomnode.spool.states import SeriesState
from dicomnode.terminal import console, progress_bars

ANSWER_SECONDS = 1800.0
POLL_SECONDS = 0.5
DEFAULT_KINDS = (ResultKind.SEG, ResultKind.SR, ResultKind.SC)
SHOWN_KINDS = (*DEFAULT_KINDS, ResultKind.PDF)
"""What OHIF can show: it has nothing for key objects and presentation states."""

PICTURE = "OT"
"""Modality of the overview page in the PACS."""

WORDS = {
    SeriesState.RECEIVING: "the node waits whether more slices come",
    SeriesState.COMPLETE: "the series is complete, the model is being loaded",
    SeriesState.ANALYZING: "the node segments and measures",
    SeriesState.DELIVERING: "the node sends its results to the PACS",
}

T = TypeVar("T")


class DemonstrationError(Exception):
    """The demonstration could not go on; the message says at which step and why."""


class Demonstration:
    """One run from CT to picture.

    Parameters
    ----------
    ct:
        Folder with a chest CT series; ``None`` for a phantom.
    directory:
        For everything that is written; emptied first.
    device:
        Where the model runs.
    pacs:
        ``auto``, ``orthanc`` or ``small``.
    viewer:
        Serve a viewer at the end, until somebody interrupts; the PACS is Orthanc then, and gets the CT and
        the kinds of result that the viewer shows.
    """

    def __init__(
        self,
        ct: Path | None,
        directory: Path,
        device: str = "auto",
        pacs: str = "auto",
        *,
        viewer: bool = False,
    ) -> None:
        self._ct = ct
        self._directory = directory.resolve()
        self._device = device
        self._pacs_choice = "orthanc" if viewer else pacs
        self._has_viewer = viewer
        self._console = console()
        self._truth: Mapping[str, Any] | None = None

    def run(self) -> int:
        """All steps; exit status 0 with an answer, 1 when the node refused the series."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        viewer = self._find_viewer() if self._has_viewer else None
        series = self._choose_ct()
        with ExitStack() as running:
            pacs = self._start_pacs()
            running.callback(pacs.stop)
            node = self._start_node(pacs)
            running.callback(node.stop)
            self._send(series, node)
            client = PacsClient(pacs.port, pacs.ae_title)
            self._wait_for_answer(series, node)
            answers = self._read_back(series, client)
            status = self._present(series, answers)
            if viewer is not None and isinstance(pacs, OrthancPacs):
                self._store_ct(series, pacs)
                self._serve(viewer, pacs, series)
        return status

    def _find_viewer(self) -> Path:
        if find_orthanc() is None or not DICOMWEB_PLUGIN.exists():
            raise DemonstrationError(
                "the viewer needs Orthanc with DICOMweb: make peers, or apt-get install "
                "orthanc orthanc-dicomweb"
            )
        try:
            return self._with_progress("looking for the OHIF viewer", lambda _: fetch_ohif())
        except OhifError as error:
            raise DemonstrationError(str(error)) from error

    def _choose_ct(self) -> SeriesFiles:
        folder = self._ct
        if folder is None:
            folder = self._directory / "phantom_ct"
            self._truth = self._with_progress(
                "building a phantom chest", lambda p: write_phantom_ct(folder, p)
            )
        found = [series for series in find_series(folder) if series.modality == "CT"]
        if not found:
            raise DemonstrationError(f"there is no CT series below {folder}")
        series = max(found, key=lambda one: len(one.paths))
        self._say(f"CT: {len(series.paths)} instances in {folder}")
        return series

    def _start_pacs(self) -> SmallPacs | OrthancPacs:
        use_orthanc = self._pacs_choice == "orthanc" or (
            self._pacs_choice == "auto" and find_orthanc() is not None
        )
        folder = self._directory / "pacs"
        pacs: SmallPacs | OrthancPacs = SmallPacs(folder)
        if use_orthanc:
            pacs = OrthancPacs(folder, further=DICOMWEB if self._has_viewer else None)
        try:
            pacs.start()
        except PacsError as error:
            raise DemonstrationError(str(error)) from error
        self._say(f"PACS: {pacs.name}, AE title {pacs.ae_title}, port {pacs.port}")
        return pacs

    def _start_node(self, pacs: SmallPacs | OrthancPacs) -> NodeProcess:
        kinds = SHOWN_KINDS if self._has_viewer else DEFAULT_KINDS
        web_port = free_port()
        node = NodeProcess(
            self._directory / "node", pacs.ae_title, pacs.port, self._device, kinds=kinds, web_port=web_port
        )
        try:
            self._with_progress("starting the node", lambda _: node.start())
        except NodeDidNotStartError as error:
            raise DemonstrationError(str(error)) from error
        self._say(f"node: AE title {node.peer.ae_title}, port {node.port}, configuration {node.config_path}")
        self._say(f"page, as long as the node runs: http://127.0.0.1:{web_port}/")
        return node

    def _send(self, series: SeriesFiles, node: NodeProcess) -> None:
        began = time.monotonic()
        total = len(series.paths)
        sent: list[SendOutcome] = []

        def send(progress: Callable[[str, float], None]) -> None:
            def note(outcome: SendOutcome) -> None:
                sent.append(outcome)
                progress("", len(sent) / total)

            send_files(series.paths, node.peer, progress=note)

        self._with_progress("sending the CT by C-STORE", send)
        failed = [outcome for outcome in sent if not outcome.ok]
        if failed:
            raise DemonstrationError(f"{len(failed)} instances were not stored: {failed[0].error}")
        self._say(f"sent: {total} instances by C-STORE in {time.monotonic() - began:.1f} s")

    def _wait_for_answer(self, series: SeriesFiles, node: NodeProcess) -> None:
        began = time.monotonic()
        ledger = Ledger(node.spool_directory / LEDGER_NAME)
        try:
            with self._console.status("waiting for the answer") as status:
                while (state := _state_of(ledger, series)) in WORDS:
                    status.update(f"{WORDS[state]} ({time.monotonic() - began:.0f} s)")
                    if not node.is_alive:
                        raise DemonstrationError(f"the node ended; its log ends: {node.last_line()}")
                    if time.monotonic() - began > ANSWER_SECONDS:
                        raise DemonstrationError(f"no answer within {ANSWER_SECONDS:g} s")
                    time.sleep(POLL_SECONDS)
        finally:
            ledger.close()
        if state is SeriesState.FAILED:
            raise DemonstrationError(f"the series failed; the node's log ends: {node.last_line()}")
        self._say(f"answered: state {state.value} {time.monotonic() - began:.1f} s after the last C-STORE")

    def _read_back(self, series: SeriesFiles, client: PacsClient) -> dict[str, Dataset]:
        deadline = time.monotonic() + 60.0
        found: list[FoundSeries] = []
        while not found and time.monotonic() < deadline:
            found = [
                s
                for s in client.find_series(series.study_instance_uid)
                if s.modality in ("SEG", "SR", PICTURE)
            ]
            if not found:  # a refusal's report may still be on its way
                time.sleep(POLL_SECONDS)
        answers: dict[str, Dataset] = {}
        for one in found:
            self._say(f"in the PACS: {one.modality} series {one.series_instance_uid} ({one.description})")
            for dataset in client.get_series(series.study_instance_uid, one.series_instance_uid):
                path = self._directory / f"from_pacs_{one.modality.lower()}.dcm"
                dataset.save_as(path, enforce_file_format=True)
                answers[one.modality] = dcmread(path)
        if "SR" not in answers:
            raise DemonstrationError("the PACS lists no structured report for the study")
        return answers

    def _present(self, series: SeriesFiles, answers: dict[str, Dataset]) -> int:
        if PICTURE in answers:
            picture = self._directory / "overview.png"
            Image.fromarray(answers[PICTURE].pixel_array).save(picture)
        if "SEG" not in answers:
            self._say("The node refused the series; its report in the PACS says:")
            for item in answers["SR"].ContentSequence:
                if item.ValueType == "TEXT":
                    self._console.print(f"  {item.ConceptNameCodeSequence[0].CodeMeaning}: {item.TextValue}")
            return 1
        volume = assemble_series(series.paths)
        segmentation = segmentation_from(answers["SEG"], volume)
        measured = measure_volume(volume, segmentation)
        self._console.print(measurement_table(answers["SR"], measured.to_json(), self._truth))
        if PICTURE in answers:
            self._say(f"picture: {picture}")
        return 0

    def _store_ct(self, series: SeriesFiles, pacs: OrthancPacs) -> None:
        peer = Peer(pacs.ae_title, "127.0.0.1", pacs.port, "SCANNER")
        failed = [one for one in send_files(series.paths, peer) if not one.ok]
        if failed:
            raise DemonstrationError(f"the PACS did not store the CT: {failed[0].error}")

    def _serve(self, distribution: Path, pacs: OrthancPacs, series: SeriesFiles) -> None:
        viewer = ViewerServer(distribution, pacs.http_port)
        viewer.start()
        self._say(f"viewer: {viewer.study_address(series.study_instance_uid)}")
        self._say("Ctrl-C ends node, PACS and viewer.")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self._say("ending")
        finally:
            viewer.stop()

    def _with_progress(self, title: str, work: Callable[[Callable[[str, float], None]], T]) -> T:
        with progress_bars() as bars:
            task = bars.add_task(title, total=1.0)
            return work(
                lambda stage, fraction: bars.update(
                    task, completed=fraction, description=f"{title}: {stage}" if stage else title
                )
            )

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, soft_wrap=True)


def _state_of(ledger: Ledger, series: SeriesFiles) -> SeriesState:
    for one in ledger.list_series():
        if one.series_instance_uid == series.series_instance_uid:
            return one.state
    return SeriesState.RECEIVING
