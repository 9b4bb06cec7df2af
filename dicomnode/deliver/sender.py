"""C-STORE SCU: files to a peer, as they are wherever the peer takes them so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config as pynetdicom_config
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from dicomnode.deliver.dicom_file import DicomFile, NotADicomFileError, read_dicom_file, uncompressed
from dicomnode.deliver.peer import Peer, PeerError, associated

LOGGER = logging.getLogger(__name__)

MAXIMUM_CONTEXTS = 128  # presentation contexts of one association (PS3.8 9.3.2.2: odd IDs from 1 to 255)

_WARNINGS = frozenset({0xB000, 0xB006, 0xB007})


@dataclass(frozen=True)
class SendOutcome:
    """What became of one file.

    Parameters
    ----------
    status:
        C-STORE status, ``None`` if it didn't come to an answer.
    error:
        Empty if the peer has the object, else a sentence.
    """

    path: Path
    sop_instance_uid: str
    status: int | None
    error: str

    @property
    def ok(self) -> bool:
        """Whether the peer has the object."""
        return not self.error


def send_files(
    paths: Iterable[Path],
    to: Peer,
    progress: Callable[[SendOutcome], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[SendOutcome]:
    """Send DICOM files by C-STORE, in order.

    Proposed are the SOP class and transfer syntax of each file, and Explicit and Implicit VR Little Endian
    besides where that loses nothing. The data set of the file goes out byte for byte if the peer accepts its
    transfer syntax.

    Parameters
    ----------
    progress:
        Called with each outcome as it comes.
    should_stop:
        Asked before each file; files after it says yes are not in the result.

    Returns
    -------
    list of SendOutcome
        One a file. No exception for files that are no DICOM, a peer that is down or refuses.
    """
    outcomes: list[SendOutcome] = []

    def note(outcome: SendOutcome) -> None:
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome)

    files = []
    for path in paths:
        try:
            files.append(read_dicom_file(path))
        except NotADicomFileError as error:
            note(SendOutcome(path, "", None, str(error)))
    for batch in _batches(files):
        if should_stop():
            break
        for outcome in _send_batch(batch, to, should_stop):
            note(outcome)
    return outcomes


def _batches(files: Sequence[DicomFile]) -> Iterator[list[DicomFile]]:
    """Files that fit into the presentation contexts of one association."""
    batch: list[DicomFile] = []
    contexts: set[tuple[str, str]] = set()
    for file in files:
        needed = _contexts(file)
        if len(contexts | needed) > MAXIMUM_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        batch.append(file)
        contexts |= needed
    if batch:
        yield batch


def _contexts(file: DicomFile) -> set[tuple[str, str]]:
    """SOP class and transfer syntax, each pair a presentation context."""
    transfer_syntaxes = {file.transfer_syntax_uid}
    if file.is_convertible:
        transfer_syntaxes |= {str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)}
    return {(file.sop_class_uid, transfer_syntax) for transfer_syntax in transfer_syntaxes}


def _send_batch(
    batch: Sequence[DicomFile], to: Peer, should_stop: Callable[[], bool]
) -> Iterator[SendOutcome]:
    # Lets pynetdicom send the bytes of the file instead of decoding and encoding them.
    pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True
    pairs = sorted(set().union(*(_contexts(file) for file in batch)))
    waiting = list(batch)
    try:
        with associated(to, [build_context(*pair) for pair in pairs]) as association:
            accepted = {
                (str(context.abstract_syntax), str(context.transfer_syntax[0]))
                for context in association.accepted_contexts
            }
            while waiting and association.is_established:
                if should_stop():
                    return
                file = waiting.pop(0)
                yield _send_one(association, file, accepted, to)
    except PeerError as error:
        for file in waiting:
            yield SendOutcome(file.path, file.sop_instance_uid, None, str(error))
        return
    for file in waiting:
        yield SendOutcome(file.path, file.sop_instance_uid, None, f"{to}: the association was lost")


def _send_one(
    association: Association, file: DicomFile, accepted: set[tuple[str, str]], to: Peer
) -> SendOutcome:
    def failed(error: str, status: int | None = None) -> SendOutcome:
        return SendOutcome(file.path, file.sop_instance_uid, status, f"{to}: {error}")

    what: Path | Dataset
    if (file.sop_class_uid, file.transfer_syntax_uid) in accepted:
        what = file.path
    elif accepted & _contexts(file):
        try:
            what = uncompressed(file)
        except Exception as error:  # decoders raise many kinds; messages might quote the data set
            return failed(f"it doesn't take the transfer syntax and decoding failed ({type(error).__name__})")
    else:
        return failed("it accepts neither this SOP class in its transfer syntax nor a fallback")
    try:
        answer = association.send_c_store(what)
    except (AttributeError, RuntimeError, ValueError, OSError) as error:
        return failed(f"the file could not be sent ({type(error).__name__})")
    if "Status" not in answer:
        association.abort()  # else pynetdicom would go on waiting for answers on a lost connection
        return failed("no answer to C-STORE, the association was lost")
    status = int(answer.Status)
    if status == 0 or status in _WARNINGS:
        return SendOutcome(file.path, file.sop_instance_uid, status, "")
    return failed(f"C-STORE was answered with status {status:04X}", status)
