"""C-STORE SCU: files to a peer, as they are wherever the peer takes them so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config as pynetdicom_config
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from dicomnode.deliver.dicom_file import (
    DicomFile,
    NotADicomFileError,
    deflated,
    read_dicom_file,
    uncompressed,
)
from dicomnode.deliver.peer import NothingAcceptedError, Peer, PeerError, associated
from dicomnode.deliver.refusal import Verdict, c_store_answer

LOGGER = logging.getLogger(__name__)

MAXIMUM_CONTEXTS = 128  # presentation contexts of one association (PS3.8 9.3.2.2: odd IDs from 1 to 255)

DEFLATED = str(DeflatedExplicitVRLittleEndian)

_NO_REASON = 2  # provider rejection (PS3.8 Table 9-18); every other rejected context is a SOP class not taken


@dataclass(frozen=True)
class SendOutcome:
    """What became of one file.

    Parameters
    ----------
    status:
        C-STORE status or Failure Reason of STOW-RS, ``None`` if it didn't come to an answer.
    error:
        Empty if the peer has the object, else a sentence.
    verdict:
        Whether it is there, and if not, whether another attempt makes sense.
    remark:
        What the peer warned of while it stored the object.
    retry_after_seconds:
        When it wants to be asked again, if it said so.
    """

    path: Path
    sop_instance_uid: str
    status: int | None
    error: str
    verdict: Verdict
    remark: str = ""
    retry_after_seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the peer has the object."""
        return not self.error


def send_files(
    paths: Iterable[Path],
    to: Peer,
    progress: Callable[[SendOutcome], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    deflate: bool = False,
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
    deflate:
        Propose Deflated Explicit VR Little Endian, too, and send uncompressed files in it where it is taken.

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
            note(SendOutcome(path, "", None, str(error), Verdict.UNSENDABLE))
    for batch in _batches(files, deflate):
        if should_stop():
            break
        for outcome in _send_batch(batch, to, should_stop, deflate):
            note(outcome)
    return outcomes


def _batches(files: Sequence[DicomFile], deflate: bool) -> Iterator[list[DicomFile]]:
    """Files that fit into the presentation contexts of one association."""
    batch: list[DicomFile] = []
    contexts: set[tuple[str, str]] = set()
    for file in files:
        needed = _contexts(file, deflate)
        if len(contexts | needed) > MAXIMUM_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        batch.append(file)
        contexts |= needed
    if batch:
        yield batch


def _contexts(file: DicomFile, deflate: bool = False) -> set[tuple[str, str]]:
    """SOP class and transfer syntax, each pair a presentation context."""
    transfer_syntaxes = {file.transfer_syntax_uid}
    if deflate and file.transfer_syntax_uid == ExplicitVRLittleEndian:
        transfer_syntaxes.add(DEFLATED)
    if file.is_convertible:
        transfer_syntaxes |= {str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)}
    return {(file.sop_class_uid, transfer_syntax) for transfer_syntax in transfer_syntaxes}


def _send_batch(
    batch: Sequence[DicomFile], to: Peer, should_stop: Callable[[], bool], deflate: bool
) -> Iterator[SendOutcome]:
    # Lets pynetdicom send the bytes of the file instead of decoding and encoding them.
    pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True
    pairs = sorted(set().union(*(_contexts(file, deflate) for file in batch)))
    waiting = list(batch)
    try:
        with associated(to, [build_context(*pair) for pair in pairs]) as association:
            accepted = {_pair(context) for context in association.accepted_contexts}
            undecided = _undecided(association.rejected_contexts)
            while waiting and association.is_established:
                if should_stop():
                    return
                file = waiting.pop(0)
                yield _send_one(association, file, accepted, undecided, to)
    except NothingAcceptedError as error:
        undecided = _undecided(error.rejected)
        for file in waiting:
            yield _not_accepted(file, undecided, to)
        return
    except PeerError as error:
        for file in waiting:
            yield SendOutcome(file.path, file.sop_instance_uid, None, str(error), Verdict.UNREACHABLE)
        return
    for file in waiting:
        message = f"{to}: the association was lost"
        yield SendOutcome(file.path, file.sop_instance_uid, None, message, Verdict.UNREACHABLE)


def _pair(context: PresentationContext) -> tuple[str, str]:
    return str(context.abstract_syntax), str(context.transfer_syntax[0])


def _undecided(rejected: Iterable[PresentationContext]) -> set[tuple[str, str]]:
    """Contexts that were rejected without saying that their SOP class or transfer syntax is the reason."""
    return {_pair(context) for context in rejected if context.result == _NO_REASON}


def _not_accepted(file: DicomFile, undecided: set[tuple[str, str]], to: Peer) -> SendOutcome:
    verdict = Verdict.NOT_NOW if undecided & _contexts(file) else Verdict.KIND_REFUSED
    error = f"{to}: it accepts neither this SOP class in its transfer syntax nor a fallback"
    return SendOutcome(file.path, file.sop_instance_uid, None, error, verdict)


def _send_one(
    association: Association,
    file: DicomFile,
    accepted: set[tuple[str, str]],
    undecided: set[tuple[str, str]],
    to: Peer,
) -> SendOutcome:
    if not accepted & _contexts(file):
        return _not_accepted(file, undecided, to)

    def failed(error: str, verdict: Verdict, status: int | None = None) -> SendOutcome:
        return SendOutcome(file.path, file.sop_instance_uid, status, f"{to}: {error}", verdict)

    try:
        with _as_wished(file, accepted) as what:
            answer = association.send_c_store(what)
    except _DecodingError as error:
        return failed(
            f"it doesn't take the transfer syntax and decoding failed ({error})", Verdict.UNSENDABLE
        )
    except (AttributeError, RuntimeError, ValueError, OSError) as error:
        if not association.is_established:
            return failed("the association was lost", Verdict.UNREACHABLE)
        return failed(f"the file could not be sent ({type(error).__name__})", Verdict.UNSENDABLE)
    if "Status" not in answer:
        association.abort()  # else pynetdicom would go on waiting for answers on a lost connection
        return failed("no answer to C-STORE, the association was lost", Verdict.LOST)
    return _stored_or_not(file, int(answer.Status), to)


class _DecodingError(Exception):
    """The kind of error alone: a message might quote the data set."""


@contextmanager
def _as_wished(file: DicomFile, accepted: set[tuple[str, str]]) -> Iterator[Path | Dataset]:
    """The file, deflated where that was proposed and taken, decoded where it isn't taken as it is."""
    if file.transfer_syntax_uid == ExplicitVRLittleEndian and (file.sop_class_uid, DEFLATED) in accepted:
        with deflated(file) as copy:
            yield copy
    elif (file.sop_class_uid, file.transfer_syntax_uid) in accepted:
        yield file.path
    else:
        try:
            dataset = uncompressed(file)
        except Exception as error:  # decoders raise many kinds
            raise _DecodingError(type(error).__name__) from error
        yield dataset


def _stored_or_not(file: DicomFile, status: int, to: Peer) -> SendOutcome:
    meaning = c_store_answer(status)
    told = f"{meaning.sentence} ({status:04X})" if status else ""
    if meaning.verdict is Verdict.STORED:
        return SendOutcome(file.path, file.sop_instance_uid, status, "", Verdict.STORED, told)
    error = f"{to}: C-STORE was answered with status {status:04X}, {meaning.sentence}"
    return SendOutcome(file.path, file.sop_instance_uid, status, error, meaning.verdict)
