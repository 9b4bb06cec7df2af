"""Analyzes one series after the other as the node's worker does; says what each cost, or why it was refused.

Started by ``benchmarks/robustness.py``: requests (folders ``series``, ``out``) and answers are lines of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from dicomnode.pipeline import analyze_series
from dicomnode.segment.segmenter import Segmenter

FORGET_PEAK = "5"
"""Written to ``/proc/self/clear_refs`` it sets the peak to what is held now (proc(5))."""


def main(model: str, device: str) -> None:
    """Answer requests until standard input ends."""
    segmenter = Segmenter.load(model, device)
    for line in sys.stdin:
        request = json.loads(line)
        Path("/proc/self/clear_refs").write_text(FORGET_PEAK, encoding="ascii")
        begin = time.process_time()
        analysis = analyze_series(
            sorted(Path(request["series"]).glob("*.dcm")),
            segmenter,
            Path(request["out"]),
            config_sha256="0" * 64,
        )
        refusal = None if analysis.refusal is None else f"{analysis.refusal[0].value}: {analysis.refusal[1]}"
        cost = {"cpu_seconds": time.process_time() - begin, "peak_bytes": peak_bytes()}
        print(json.dumps({**cost, "refusal": refusal}), flush=True)


def peak_bytes() -> int:
    """The most memory this process held at once since it was last told to forget (VmHWM)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


if __name__ == "__main__":
    main(*sys.argv[1:])
