"""The straightforward script: a pynetdicom handler, highdicom, eager torch. Started by benchmarks.end_to_end.

python -m benchmarks.end_to_end_script --port P --pacs-port P --directory DIR [--quiet-seconds S]
"""

from __future__ import annotations

import argparse
import json
import queue
import threading
import time
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from benchmarks.end_to_end_analysis import eager_segmenter, numbers_of, volume_of, write_seg, write_sr
from dicomnode.report.segments import segments_of

SUCCESS = 0x0000


class Script:
    """Stores what comes, and works on a series when nothing of it came for a while."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._directory: Path = arguments.directory
        self._quiet_seconds: float = arguments.quiet_seconds
        self._pacs_port: int = arguments.pacs_port
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()
        self._segmenter = eager_segmenter(arguments.model)

    def store(self, event: Any) -> int:
        """C-STORE: as every tutorial shows it."""
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        folder = self._directory / dataset.SeriesInstanceUID
        folder.mkdir(parents=True, exist_ok=True)
        dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        with self._lock:
            self._last[str(dataset.SeriesInstanceUID)] = time.monotonic()
        return SUCCESS

    def work(self) -> None:
        """For ever: the series that are quiet, one after the other."""
        ready: queue.SimpleQueue[str] = queue.SimpleQueue()
        while True:
            time.sleep(0.1)
            with self._lock:
                now = time.monotonic()
                for series in [s for s, at in self._last.items() if now - at >= self._quiet_seconds]:
                    del self._last[series]
                    ready.put(series)
            while not ready.empty():
                self._analyze(self._directory / ready.get())

    def _analyze(self, folder: Path) -> None:
        times = [("began", time.time())]
        volume, slices = volume_of([dcmread(path) for path in folder.glob("*.dcm")])
        times.append(("assemble", time.time()))
        segmentation = self._segmenter.segment(volume)
        times.append(("segment", time.time()))
        numbers = numbers_of(volume, segmentation)
        times.append(("measure", time.time()))
        segments = segments_of(segmentation)
        seg = write_seg(slices, segmentation, segments, folder / "seg.out")
        write_sr(slices, seg, segments, numbers, folder / "sr.out")
        times.append(("report", time.time()))
        self._send([folder / "seg.out", folder / "sr.out"])
        times.append(("deliver", time.time()))
        seconds = {name: at - times[index][1] for index, (name, at) in enumerate(times[1:])}
        print(json.dumps({"series": folder.name, "began": times[0][1], "seconds": seconds}), flush=True)

    def _send(self, paths: list[Path]) -> None:
        ae = AE("SCRIPT")
        datasets = [dcmread(path) for path in paths]
        for dataset in datasets:
            ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        association = ae.associate("127.0.0.1", self._pacs_port, ae_title="PACS")
        for dataset in datasets:
            status = association.send_c_store(dataset)
            if status.Status != SUCCESS:
                raise SystemExit(f"the PACS refused a result: {status}")
        association.release()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pacs-port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--quiet-seconds", type=float, default=1.0)
    parser.add_argument("--model", default="best")
    arguments = parser.parse_args()
    script = Script(arguments)
    ae = AE("SCRIPT")
    ae.supported_contexts = AllStoragePresentationContexts[:127]
    ae.add_supported_context(Verification)
    ae.start_server(
        ("127.0.0.1", arguments.port), block=False, evt_handlers=[(evt.EVT_C_STORE, script.store)]
    )
    script.work()


if __name__ == "__main__":
    main()
