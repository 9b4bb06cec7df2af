"""What the worker is told of slices that are kept."""

from __future__ import annotations

import queue
from pathlib import Path

from dicomnode.early_notices import EarlyNotices, Notice
from dicomnode.receive.dataset_scan import DatasetIdentity
from dicomnode.receive.observer import Caller, StoreOutcome
from dicomnode.spool.records import Kept

CT = "1.2.840.10008.5.1.4.1.1.2"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def outcome(kept: Kept | None, sop_class_uid: str = CT, association: int = 1) -> StoreOutcome:
    identity = DatasetIdentity(
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        sop_instance_uid="1.2.3.4",
        sop_class_uid=sop_class_uid,
    )
    caller = Caller(association, "SCANNER", "127.0.0.1")
    return StoreOutcome(caller, 0, 10, 0.1, identity=identity, kept=kept, series_id="series")


def test_new_ct_slices_and_the_end_of_their_association_are_told() -> None:
    told: queue.Queue[Notice] = queue.Queue()
    notices = EarlyNotices(lambda series, uid: Path("/spool") / series / uid, told.put)
    notices.start()
    for kept in (Kept.NEW, Kept.DUPLICATE, Kept.CONFLICT, None):
        notices.instance_answered(outcome(kept))
    notices.instance_answered(outcome(Kept.NEW, SEGMENTATION, association=2))
    notices.association_ended(2)
    notices.association_ended(1)
    notices.association_ended(1)
    assert told.get(timeout=10) == {"notice": "arrived", "series": "series", "path": "/spool/series/1.2.3.4"}
    assert told.get(timeout=10) == {"notice": "ended", "series": "series"}
    notices.stop()
    assert told.empty()


def test_who_stores_never_waits() -> None:
    notices = EarlyNotices(lambda series, uid: Path(series), lambda notice: None)  # never started
    for _ in range(10_500):
        notices.instance_answered(outcome(Kept.NEW))
    notices.association_ended(1)
    notices.stop()
