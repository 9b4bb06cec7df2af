"""The log of series: one line a series and generation, with identifiers only where they are asked for."""

from __future__ import annotations

import logging

import pytest

from dicomnode.receive.observer import Caller, ReceiveObserver, StoreOutcome
from dicomnode.receive.series_log import SeriesLog
from dicomnode.spool.states import SeriesState
from tests.dicom_network import NodeFactory, associate, make_ct, until


class Later(ReceiveObserver):
    """Passes on to a log that needs the ledger of the node that it observes."""

    log: SeriesLog

    def instance_answered(self, outcome: StoreOutcome) -> None:
        self.log.instance_answered(outcome)


def test_one_line_a_series_and_generation(start_node: NodeFactory, caplog: pytest.LogCaptureFixture) -> None:
    later = Later()
    node = start_node(observers=[later])
    later.log = SeriesLog(node.spool.ledger, identifiers=True)
    with caplog.at_level(logging.INFO, logger="dicomnode.receive.series_log"):
        for numbers in ((1, 2, 2), (3,)):
            association = associate(node)
            for number in numbers:
                slice_ = make_ct(number, PatientID="P1", AccessionNumber="A1")
                assert association.send_c_store(slice_).Status == 0
            association.release()
            until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    lines = [r for r in caplog.records if r.name.endswith("series_log")]
    assert [(r.patient_id, r.accession_number, r.generation) for r in lines] == [  # type: ignore[attr-defined]
        ("P1", "A1", 1),
        ("P1", "A1", 2),
    ]
    (series,) = node.spool.ledger.list_series()
    assert {r.series for r in lines} == {series.id}  # type: ignore[attr-defined]
    assert {r.series_instance_uid for r in lines} == {series.series_instance_uid}  # type: ignore[attr-defined]


def test_what_was_not_stored_is_not_logged(start_node: NodeFactory, caplog: pytest.LogCaptureFixture) -> None:
    log = SeriesLog(start_node().spool.ledger, identifiers=True)
    with caplog.at_level(logging.INFO):
        log.instance_answered(StoreOutcome(Caller(1, "CT1", "192.0.2.7"), 0xA700, 100, 0.1))
    assert not [r for r in caplog.records if r.name.endswith("series_log")]


def test_without_identifiers_the_line_has_only_ids(
    start_node: NodeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    later = Later()
    node = start_node(observers=[later])
    later.log = SeriesLog(node.spool.ledger, identifiers=False)
    association = associate(node)
    with caplog.at_level(logging.INFO, logger="dicomnode"):
        assert association.send_c_store(make_ct(1, PatientID="P-QX1")).Status == 0
    association.release()
    (line,) = [r for r in caplog.records if r.name.endswith("series_log")]
    assert line.calling_ae_title == "SCANNER"  # type: ignore[attr-defined]
    assert not {"patient_id", "accession_number", "study_instance_uid"} & vars(line).keys()
