"""The storage SCP against dcmtk and pynetdicom as senders."""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from dicomnode.deliver.peer import Peer
from dicomnode.deliver.sender import send_files
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from tests.dicom_network import (
    CT_IMAGE_STORAGE,
    DECODABLE,
    Node,
    NodeFactory,
    associate,
    dataset_bytes,
    installed,
    make_ct,
    storescp,
    until,
)

OPTIONS = {  # storescu proposes only what it is told to
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}


def kept(node: Node) -> dict[str, bytes]:
    """SOP Instance UID to the data set in the spool."""
    return {
        record.sop_instance_uid: dataset_bytes(node.spool.directory / record.path)
        for record in node.instances()
    }


def test_verification(node: Node) -> None:
    assert node.dcmtk("echoscu").returncode == 0


def test_storescu_in_every_transfer_syntax_that_it_speaks(node: Node, data_dir: Path) -> None:
    sent = 0
    for path in sorted((data_dir / "edge" / "every_transfer_syntax").glob("CT*")):
        header = dcmread(path, stop_before_pixels=True)
        option = OPTIONS.get(header.file_meta.TransferSyntaxUID)
        if option is None or header.SOPClassUID != CT_IMAGE_STORAGE:
            continue
        before = len(node.instances())
        run = node.dcmtk("storescu", "-R", option, path)
        assert run.returncode == 0, f"{path.name}: {run.stderr}"
        record = next(one for one in node.instances() if one.sop_instance_uid == header.SOPInstanceUID)
        if len(node.instances()) > before:  # many of the files carry the same UID; the first stays
            assert record.transfer_syntax_uid == header.file_meta.TransferSyntaxUID
            assert dcmread(node.spool.directory / record.path).Rows == header.Rows
        sent += 1
    assert sent >= 12


def test_dcmsend_in_every_transfer_syntax_keeps_the_encoding_of_the_file(
    start_node: NodeFactory, data_dir: Path
) -> None:
    for path in sorted((data_dir / "edge" / "every_transfer_syntax").glob("CT*")):
        header = dcmread(path, stop_before_pixels=True)
        syntax = header.file_meta.TransferSyntaxUID
        if header.SOPClassUID != CT_IMAGE_STORAGE:
            continue
        node = start_node()  # a new one each, since many of the files carry the same UID
        run = node.dcmtk("dcmsend", "--no-uid-checks", path)
        assert run.returncode == 0, f"{path.name}: {run.stderr}"
        if syntax not in DECODABLE:
            assert "No Acceptable Presentation Contexts" in run.stderr
            continue
        (record,) = node.instances()
        if syntax not in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"):
            assert record.transfer_syntax_uid == syntax, (
                path.name
            )  # as in the file, though others were offered


def test_real_slices_are_kept_bit_for_bit(node: Node, ricord: Sequence[Path]) -> None:
    slices = ricord[:20]
    outcomes = send_files(slices, Peer("DICOMNODE", "127.0.0.1", node.port))
    assert [outcome.status for outcome in outcomes] == [0] * 20
    spooled = kept(node)
    for path in slices:
        assert spooled[dcmread(path, stop_before_pixels=True).SOPInstanceUID] == dataset_bytes(path)
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    (series,) = node.spool.ledger.list_series()
    assert series.instances == 20
    assert "quiet time" in series.completeness


def test_the_spool_holds_what_a_bit_preserving_receiver_gets(
    node: Node, ricord: Sequence[Path], tmp_path: Path
) -> None:
    """storescu writes sequences anew; dcmtk's own receiver gets the same bytes from it."""
    slices = ricord[:5]
    assert node.dcmtk("storescu", "-xs", *slices).returncode == 0
    with storescp(tmp_path, "+B", "+xs") as (port, received):
        command = [installed("storescu"), "-xs", "127.0.0.1", str(port), *map(str, slices)]
        subprocess.run(command, check=True)
        reference = {dcmread(path).SOPInstanceUID: dataset_bytes(path) for path in received.iterdir()}
    assert kept(node) == reference


@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
def test_one_and_eight_senders_at_once(
    start_node: NodeFactory, ricord: Sequence[Path], tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for senders in (1, 8):
        node = start_node()
        options = ["-xs"] if tool == "storescu" else []
        command = [installed(tool), *options, "-aec", "DICOMNODE", "127.0.0.1", str(node.port)]
        begin = time.monotonic()
        running = [subprocess.Popen([*command, *ricord[first::senders]]) for first in range(senders)]
        assert [one.wait(timeout=120) for one in running] == [0] * senders
        seconds = time.monotonic() - begin
        with capsys.disabled():
            print(
                f"\n{tool}, {senders} at once: {len(ricord)} slices in {seconds:.2f} s, "
                f"{len(ricord) / seconds:.0f} slices/s, each synced before Success"
            )
        assert len(node.instances()) == len(ricord)
        until(lambda node=node: node.spool.ledger.list_series(SeriesState.COMPLETE))  # type: ignore[misc]
        (series,) = node.spool.ledger.list_series()
        assert (series.instances, series.generation) == (len(ricord), 1)


def test_a_resent_series_is_answered_with_success_and_not_kept_twice(
    node: Node, ricord: Sequence[Path]
) -> None:
    for _ in range(2):
        assert node.dcmtk("storescu", "-xs", *ricord[:5]).returncode == 0
        until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    (series,) = node.spool.ledger.list_series()
    assert (series.instances, series.generation, series.state) == (5, 1, SeriesState.COMPLETE)


def test_a_late_slice_brings_the_series_back(node: Node, ricord: Sequence[Path]) -> None:
    node.dcmtk("storescu", "-xs", *ricord[:3])
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    assert node.spool.ledger.claim_next() is not None
    node.dcmtk("storescu", "-xs", ricord[3])
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    (series,) = node.spool.ledger.list_series()
    assert (series.instances, series.generation, series.attempts) == (4, 2, 0)


def test_a_series_is_not_complete_while_its_association_is_open(node: Node) -> None:
    association = associate(node)
    assert association.send_c_store(make_ct()).Status == 0
    time.sleep(0.8)  # longer than the quiet time
    assert node.spool.ledger.list_series(SeriesState.COMPLETE) == ()
    association.release()
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))


def test_an_aborted_association_ends_its_hold(node: Node) -> None:
    association = associate(node)
    assert association.send_c_store(make_ct()).Status == 0
    association.abort()
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))


def send_raw(
    node: Node, encoded: bytes, sop_class: str = CT_IMAGE_STORAGE, instance: str = "1.2.3"
) -> tuple[int, str]:
    """C-STORE with any data set and any UIDs in the command set."""
    association = associate(node)
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = UID(sop_class)
    request.AffectedSOPInstanceUID = UID(instance)
    request.Priority = 2
    request.DataSet = BytesIO(encoded)
    association._reactor_checkpoint.clear()
    until(lambda: association._is_paused)
    context = association.accepted_contexts[0].context_id
    association.dimse.send_msg(request, context)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    return int(answer.Status), str(answer.ErrorComment or "")


def encoded(**attributes: object) -> bytes:
    dataset = make_ct(**attributes)  # type: ignore[arg-type]
    for name, value in attributes.items():
        if value is None:
            delattr(dataset, name)
    result = encode(dataset, False, True)
    assert result is not None
    return result


UID_OF_CT = str(make_ct().SOPInstanceUID)


def test_a_truncated_data_set_is_not_understood(node: Node) -> None:
    whole = encoded()
    assert send_raw(node, whole[:-100], instance=UID_OF_CT)[0] == 0xC000
    assert node.instances() == []
    assert send_raw(node, whole, instance=UID_OF_CT)[0] == 0
    assert len(node.instances()) == 1


@pytest.mark.parametrize(
    "missing", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
def test_a_missing_uid_is_not_understood(node: Node, missing: str) -> None:
    status, comment = send_raw(node, encoded(**{missing: None}), instance=UID_OF_CT)
    assert status == 0xC000
    assert 0 < len(comment) <= 64
    assert comment.isascii()


@pytest.mark.parametrize("uid", ["1/../../../../tmp/evil", "1.2'; DROP TABLE series; --", '1."2', "1.2 3"])
def test_a_hostile_uid_becomes_no_path_and_no_sql(node: Node, uid: str) -> None:
    for name in ("StudyInstanceUID", "SeriesInstanceUID"):
        with pytest.warns(UserWarning):
            data = encoded(**{name: uid})
        assert send_raw(node, data, instance=UID_OF_CT)[0] == 0xC000
    assert node.instances() == []
    assert {path.name for path in node.spool.directory.iterdir()} <= {
        "incoming",
        "instances",
        "lock",
        "ledger.sqlite",
        "ledger.sqlite-wal",
        "ledger.sqlite-shm",
        "journal",
    }


def test_uids_of_command_and_data_set_must_agree(node: Node) -> None:
    data = encoded()
    assert send_raw(node, data, instance="1.2.3")[0] == 0xA900
    with_other_class = encoded(SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.66.4"))
    assert send_raw(node, with_other_class, instance=UID_OF_CT)[0] == 0xA900
    assert send_raw(node, data, "1.2.840.10008.5.1.4.1.1.66.4", UID_OF_CT)[0] == 0xA900
    assert send_raw(node, data, "1.2.840.10008.5.1.4.1.1.4", UID_OF_CT)[0] == 0x0122
    assert node.instances() == []


def test_enhanced_ct_is_not_accepted_at_negotiation(node: Node, data_dir: Path) -> None:
    path = data_dir / "edge" / "every_transfer_syntax" / "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm"
    assert "No Acceptable Presentation Contexts" in node.dcmtk("dcmsend", "--decompress-never", path).stderr
    assert node.instances() == []
    assert node.echo_works()


def test_a_short_disk_is_answered_with_a700(start_node: NodeFactory) -> None:
    node = start_node(minimum_free_bytes=1 << 60)
    status, comment = send_raw(node, encoded(), instance=UID_OF_CT)
    assert (status, comment) == (0xA700, "not enough free disk space")
    assert node.spool.ledger.list_series() == ()
    node.spool.minimum_free_bytes = 0
    assert send_raw(node, encoded(), instance=UID_OF_CT)[0] == 0


def test_a_spool_that_can_not_be_written_is_answered_with_a700(node: Node) -> None:
    shutil.rmtree(node.spool.directory / "incoming")
    assert send_raw(node, encoded(), instance=UID_OF_CT)[0] == 0xA700


def test_other_bytes_for_a_known_uid_are_answered_with_success_and_not_kept(node: Node) -> None:
    first = encoded()
    assert send_raw(node, first, instance=UID_OF_CT)[0] == 0
    assert send_raw(node, encoded(Rows=8, Columns=32), instance=UID_OF_CT)[0] == 0
    assert kept(node) == {UID_OF_CT: first}
    assert node.instances()[0].conflicts == 1


def test_logs_carry_no_patient_and_no_uid(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="dicomnode")
    send_raw(node, encoded(), instance=UID_OF_CT)
    send_raw(node, encoded(Rows=8), instance=UID_OF_CT)
    send_raw(node, encoded(StudyInstanceUID=None), instance=UID_OF_CT)
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    written = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "instance not stored" in written
    assert "Secret" not in written
    assert "1.2.826.0.1.3680043.8.498" not in written


def test_series_left_receiving_by_a_previous_run_become_complete(node: Node) -> None:
    association = associate(node)
    association.send_c_store(make_ct())
    node.server.stop(drain_seconds=0)
    assert node.spool.ledger.list_series(SeriesState.RECEIVING)
    node.server = StorageServer(
        ServerSettings("DICOMNODE", "127.0.0.1", 0, completeness=node.server._settings.completeness),
        node.spool,
        [],
    )
    node.server.start()
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))


def test_stopping_lets_an_open_association_finish(node: Node) -> None:
    association = associate(node)
    stopping = threading.Thread(target=node.server.stop, args=(20,))
    stopping.start()
    assert association.send_c_store(make_ct()).Status == 0
    association.release()
    stopping.join(timeout=10)
    assert not stopping.is_alive()
    assert len(node.instances()) == 1


def test_a_port_in_use_is_an_error(node: Node, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "other")
    server = StorageServer(ServerSettings("OTHER", "127.0.0.1", node.port), spool, [])
    with pytest.raises(OSError, match="in use"):
        server.start()
    spool.close()
