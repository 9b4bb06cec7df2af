"""The model server behind dicom-ai-router: what its own one is, with our networks in eager torch.

    uvicorn benchmarks.end_to_end_model:app --port P

It answers by the router's contract: lines of text for the report and one slice for the key image. The router
sends no masks on, so none are made.
"""

from __future__ import annotations

import io
import os
import time
from typing import Any

import numpy as np
from fastapi import FastAPI, File, UploadFile
from pydicom import dcmread

from benchmarks.end_to_end_analysis import eager_segmenter, numbers_of, volume_of

MODEL = os.environ.get("BENCHMARK_MODEL", "best")
app = FastAPI()
segmenter = eager_segmenter(MODEL)


@app.get("/health")
def health() -> dict[str, bool]:
    """Whether it is ready."""
    return {"ok": True}


@app.post("/infer/lungs")
def infer(files: list[UploadFile] = File(...)) -> dict[str, Any]:  # noqa: B008  (as FastAPI wants it)
    """Numbers of the series in ``files``."""
    began = time.perf_counter()
    volume, slices = volume_of([dcmread(io.BytesIO(file.file.read())) for file in files])
    assembled = time.perf_counter()
    segmentation = segmenter.segment(volume)
    segmented = time.perf_counter()
    numbers = numbers_of(volume, segmentation)
    key = int(np.argmax(np.count_nonzero(segmentation.lesion, axis=(1, 2))))
    seconds = {
        "assemble": assembled - began,
        "segment": segmented - assembled,
        "measure": time.perf_counter() - segmented,
    }
    return {
        "model": MODEL,
        "model_version": segmentation.model.version,
        "study_instance_uid": str(slices[0].StudyInstanceUID),
        "n_images": len(slices),
        "result": "POSITIVE" if segmentation.lesion.any() else "NEGATIVE",
        "summary_lines": [
            line
            for name, (ml, percent, hu) in numbers.items()
            for line in (
                (f"{name} volume", f"{ml:.1f} mL"),
                (f"{name} extent", f"{percent:.1f} %"),
                (f"{name} mean", f"{hu:.0f} HU"),
            )
        ],
        "key_sop_instance_uid": str(slices[key].SOPInstanceUID),
        "overlays": [],
        "display_window": [-600, 1500],
        "metrics": seconds,
        "processing_ms": round(1000 * (time.perf_counter() - began), 1),
    }
