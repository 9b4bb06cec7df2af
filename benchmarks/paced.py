"""A sender that is no faster than a scanner."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage


def send_at_pace(paths: Sequence[Path], port: int, ae_title: str, pace: float) -> float:
    """C-STORE ``pace`` slices a second over one association; when the last response came (monotonic, s).

    Ends the program if the receiver at ``port`` of this machine takes no association or no instance.
    """
    datasets = [pydicom.dcmread(path) for path in paths]
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage, datasets[0].file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title=ae_title, max_pdu=0)
    if not association.is_established:
        sys.exit(f"{ae_title} took no association")
    began = time.monotonic()
    for number, dataset in enumerate(datasets):
        time.sleep(max(0.0, began + number / pace - time.monotonic()))
        if association.send_c_store(dataset).Status != 0:
            sys.exit(f"{ae_title} refused an instance")
    last = time.monotonic()
    association.release()
    return last


def by_height(paths: Sequence[Path]) -> list[Path]:
    """From feet to head."""
    heights = {
        path: float(pydicom.dcmread(path, specific_tags=["ImagePositionPatient"]).ImagePositionPatient[2])
        for path in paths
    }
    return sorted(paths, key=heights.__getitem__)
