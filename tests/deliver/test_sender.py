"""Files to dcmtk's receiver and to our own."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
)

from dicomnode.deliver.dicom_file import find_files, read_dicom_file
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.sender import SendOutcome, send_files
from tests.dicom_network import dataset_bytes, free_port, make_ct, storescp


def save(directory: Path, number: int = 1, **attributes: object) -> Path:
    dataset = make_ct(number, **attributes)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = directory / f"{number}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_files_arrive_bit_for_bit_in_their_transfer_syntax(data_dir: Path, tmp_path: Path) -> None:
    slices = sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[:10]
    seen: list[SendOutcome] = []
    with storescp(tmp_path, "+B", "+xa") as (port, received):
        outcomes = send_files(slices, Peer("PACS", "127.0.0.1", port), progress=seen.append)
        assert all(outcome.ok and outcome.status == 0 for outcome in outcomes)
        assert seen == outcomes
        arrived = {dcmread(path).SOPInstanceUID: path for path in received.iterdir()}
    for path in slices:
        sent = read_dicom_file(path)
        other = arrived[sent.sop_instance_uid]
        assert read_dicom_file(other).transfer_syntax_uid == JPEGLosslessSV1
        assert dataset_bytes(other) == dataset_bytes(path)


def test_masks_go_deflated_where_that_is_wished_and_taken(tmp_path: Path) -> None:
    path = save(tmp_path)
    with storescp(tmp_path, "+B", "+xd") as (port, received):
        (outcome,) = send_files([path], Peer("PACS", "127.0.0.1", port), deflate=True)
        assert outcome.ok, outcome.error
        (arrived,) = received.iterdir()
        assert read_dicom_file(arrived).transfer_syntax_uid == DeflatedExplicitVRLittleEndian
        source, dataset = dcmread(path), dcmread(arrived)
        assert list(dataset) == list(source)
        assert arrived.stat().st_size < path.stat().st_size


@pytest.mark.parametrize("deflate", [False, True])
def test_a_peer_that_takes_no_deflated_objects_gets_them_as_they_are(tmp_path: Path, deflate: bool) -> None:
    path = save(tmp_path)
    with storescp(tmp_path, "+B") as (port, received):
        (outcome,) = send_files([path], Peer("PACS", "127.0.0.1", port), deflate=deflate)
        assert outcome.ok, outcome.error
        (arrived,) = received.iterdir()
        assert read_dicom_file(arrived).transfer_syntax_uid == ExplicitVRLittleEndian
        assert dataset_bytes(arrived) == dataset_bytes(path)


def test_nothing_is_deflated_without_a_wish(tmp_path: Path) -> None:
    path = save(tmp_path)
    with storescp(tmp_path, "+B", "+xd") as (port, received):
        (outcome,) = send_files([path], Peer("PACS", "127.0.0.1", port))
        assert outcome.ok, outcome.error
        (arrived,) = received.iterdir()
        assert read_dicom_file(arrived).transfer_syntax_uid == ExplicitVRLittleEndian


def test_lossless_files_are_decoded_for_a_peer_without_their_syntax(data_dir: Path, tmp_path: Path) -> None:
    (path,) = sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[:1]
    with storescp(tmp_path, "+B", "+xe") as (port, received):  # uncompressed only
        (outcome,) = send_files([path], Peer("PACS", "127.0.0.1", port))
        assert outcome.ok, outcome.error
        (arrived,) = received.iterdir()
        dataset, source = dcmread(arrived), dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert dataset.SOPInstanceUID == source.SOPInstanceUID
    assert np.array_equal(dataset.pixel_array, source.pixel_array)


def test_explicit_files_go_to_a_peer_that_knows_only_implicit(tmp_path: Path) -> None:
    path = save(tmp_path)
    with storescp(tmp_path, "+B", "+xi") as (port, received):
        (outcome,) = send_files([path], Peer("PACS", "127.0.0.1", port))
        assert outcome.ok, outcome.error
        (arrived,) = received.iterdir()
        assert dcmread(arrived).PixelData == dcmread(path).PixelData


def test_lossy_files_are_not_decoded_in_silence(data_dir: Path, tmp_path: Path) -> None:
    name = "CTImage.dcm_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm"
    path = data_dir / "edge" / "every_transfer_syntax" / name
    assert read_dicom_file(path).transfer_syntax_uid == JPEGLSNearLossless
    with storescp(tmp_path, "+B", "+xe") as (port, received):
        (outcome,) = send_files([path], Peer("PACS", "127.0.0.1", port))
        assert not outcome.ok
        assert outcome.status is None
        assert list(received.iterdir()) == []


def test_what_is_no_dicom_is_told_and_the_rest_is_sent(tmp_path: Path) -> None:
    text = tmp_path / "readme.txt"
    text.write_text("not a slice")
    path = save(tmp_path)
    with storescp(tmp_path) as (port, _):
        outcomes = send_files([text, path, tmp_path / "missing.dcm"], Peer("PACS", "127.0.0.1", port))
    by_name = {outcome.path.name: outcome for outcome in outcomes}
    assert by_name["1.dcm"].ok
    assert "not a DICOM file" in by_name["readme.txt"].error
    assert "No such file" in by_name["missing.dcm"].error


def test_a_peer_that_is_down_is_told_for_every_file(tmp_path: Path) -> None:
    paths = [save(tmp_path, number) for number in (1, 2)]
    outcomes = send_files(paths, Peer("PACS", "127.0.0.1", free_port()))
    assert ["no connection" in outcome.error for outcome in outcomes] == [True, True]


@pytest.mark.parametrize("option", ["--abort-after", "--abort-during"])
def test_an_association_lost_on_the_way_is_told(tmp_path: Path, option: str) -> None:
    paths = [save(tmp_path, number) for number in (1, 2, 3)]
    with storescp(tmp_path, option) as (port, _):
        begin = time.monotonic()
        outcomes = send_files(paths, Peer("PACS", "127.0.0.1", port, answer_seconds=30))
        assert time.monotonic() - begin < 5, "a lost association was waited for"
    assert [outcome.path for outcome in outcomes] == paths
    assert not outcomes[-1].ok
    assert "association was lost" in outcomes[-1].error


def test_stopping_leaves_the_rest_unsent(tmp_path: Path) -> None:
    paths = [save(tmp_path, number) for number in (1, 2, 3)]
    done: list[SendOutcome] = []
    with storescp(tmp_path) as (port, _):
        peer = Peer("PACS", "127.0.0.1", port)
        outcomes = send_files(paths, peer, progress=done.append, should_stop=lambda: len(done) >= 2)
    assert [outcome.path for outcome in outcomes] == paths[:2]


def test_more_kinds_of_object_than_contexts_fit_into_one_association(tmp_path: Path) -> None:
    paths = []
    for number in range(1, 61):  # 3 contexts each: its own class in three uncompressed syntaxes
        paths.append(save(tmp_path, number, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{1000 + number}"))
    with storescp(tmp_path, "-pm") as (port, received):
        outcomes = send_files(paths, Peer("PACS", "127.0.0.1", port))
        assert [outcome.error for outcome in outcomes] == [""] * 60
        assert len(list(received.iterdir())) == 60


def test_sending_waits_for_no_delayed_acknowledgement(tmp_path: Path) -> None:
    paths = [save(tmp_path, number) for number in range(1, 41)]
    with storescp(tmp_path) as (port, _):
        begin = time.monotonic()
        assert all(outcome.ok for outcome in send_files(paths, Peer("PACS", "127.0.0.1", port)))
        seconds = time.monotonic() - begin
    print(f"\n40 small objects to storescp in {seconds:.2f} s")
    assert seconds < 40 * 0.04, "40 ms each are a delayed acknowledgement"


def test_files_below_a_directory_without_hidden_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/2.dcm", "a/1", "DICOMDIR", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    assert find_files(tmp_path) == [tmp_path / "a" / "1", tmp_path / "a" / "2.dcm"]
    assert find_files(tmp_path / "a" / "1") == [tmp_path / "a" / "1"]
