"""The reactor of an association with a peer is held, and let go, when it should be."""

from __future__ import annotations

import threading
from pathlib import Path

from pynetdicom.presentation import build_context

from dicomnode.deliver.peer import VERIFICATION, Peer, associated
from tests.dicom_network import storescp


def test_a_release_beside_the_thread_of_an_event_report_came_to_no_end(tmp_path: Path) -> None:
    with storescp(tmp_path) as (port, _):
        peer = Peer("PACS", "127.0.0.1", port)
        with associated(peer, [build_context(VERIFICATION)]) as association:
            association._reactor_checkpoint.clear()
            association._is_paused = False  # as pynetdicom says after it has served an N-EVENT-REPORT
            releasing = threading.Thread(target=association.release, daemon=True)
            releasing.start()
            releasing.join(10)
            assert not releasing.is_alive()
            assert association.is_released


def test_a_held_reactor_goes_on_when_it_is_let(tmp_path: Path) -> None:
    with storescp(tmp_path) as (port, _):
        peer = Peer("PACS", "127.0.0.1", port)
        with associated(peer, [build_context(VERIFICATION)]) as association:
            association._reactor_checkpoint.clear()
            assert association._is_paused
            association._reactor_checkpoint.set()
            assert [association.send_c_echo().Status for _ in range(20)] == [0] * 20
