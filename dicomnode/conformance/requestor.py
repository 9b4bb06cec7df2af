"""Tables of the networking part: what the node asks of others, and makes of their answers."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context

from dicomnode.conformance.markdown import table
from dicomnode.conformance.network import accepted, name_of
from dicomnode.deliver import commitment
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.refusal import C_STORE_ANSWERS, HTTP_ANSWERS, Answer, Verdict
from dicomnode.deliver.sender import MAXIMUM_CONTEXTS
from dicomnode.deliver.stow import ACCEPTED
from dicomnode.priors import pacs
from dicomnode.receive.count_source import STUDY_ROOT_FIND
from dicomnode.receive.presentation_contexts import VERIFICATION
from dicomnode.report.encapsulated_pdf import ENCAPSULATED_PDF_STORAGE
from dicomnode.report.key_objects import KEY_OBJECT_SELECTION
from dicomnode.report.own_report import OWN_UID_ROOT
from dicomnode.report.picture_series import MULTIFRAME_TRUE_COLOR_SC
from dicomnode.report.presentation_state import GSPS_STORAGE
from dicomnode.report.refusal import ENHANCED_SR
from dicomnode.report.secondary_capture import SECONDARY_CAPTURE_STORAGE
from dicomnode.report.seg import SEGMENTATION_STORAGE
from dicomnode.report.sr import COMPREHENSIVE_3D_SR
from dicomnode.storage_commitment import NOT_MISSING, FailureReason
from dicomnode.storage_commitment import SOP_CLASS as STORAGE_COMMITMENT

RESULTS = {
    SEGMENTATION_STORAGE: "masks of a measured series",
    COMPREHENSIVE_3D_SR: "measurements of a measured series (TID 1500)",
    ENHANCED_SR: "why a series was not measured",
    SECONDARY_CAPTURE_STORAGE: "a picture of either, for systems that take no SEG or SR; overlay by slices",
    MULTIFRAME_TRUE_COLOR_SC: "the overlay in one object",
    ENCAPSULATED_PDF_STORAGE: "overview and remarks as a document",
    KEY_OBJECT_SELECTION: "the key slices",
    GSPS_STORAGE: "lesions outlined on the key slices",
}
"""SOP classes that are sent to destinations, and what for."""

REQUESTED = (
    VERIFICATION,
    *RESULTS,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    pacs.STUDY_ROOT_GET,
    pacs.STUDY_ROOT_MOVE,
)
"""All SOP classes that the node uses as SCU."""

CONSEQUENCES = {
    Verdict.STORED: "the object is delivered",
    Verdict.OBJECT_REFUSED: "the object is not sent again; a secondary capture is sent instead",
    Verdict.KIND_REFUSED: "objects of its kind are not sent any more; a secondary capture is sent instead",
    Verdict.NOT_NOW: "the object is sent again later",
    Verdict.LOST: "the destination is tried again later; after some losses at one object others go first",
    Verdict.UNREACHABLE: "the destination is tried again later, then with one object first",
}


def services() -> str:
    """The overview: SOP classes and the roles in them."""
    scp = [uid for uid, _ in accepted()]
    rows = [
        (name_of(uid), uid, "yes" if uid in REQUESTED else "", "yes" if uid in scp else "")
        for uid in dict.fromkeys((*scp, *REQUESTED))
    ]
    return table(("SOP class", "UID", "SCU", "SCP"), rows)


def requestor_policy() -> str:
    """Limits of associations that the node opens."""
    peer = Peer("PACS", "host", 104)
    return table(
        ("policy", "value"),
        [
            ("associations at once", "one for each destination"),
            ("longest P-DATA-TF PDU received", f"{ApplicationEntity().maximum_pdu_size} bytes"),
            ("time for the connection", f"{peer.connect_seconds:g} s"),
            ("time for one answer", f"{peer.answer_seconds:g} s"),
            ("presentation contexts of one association", f"at most {MAXIMUM_CONTEXTS}"),
            ("outstanding operations", "1 (no asynchronous operations window)"),
        ],
    )


def requestor_contexts() -> str:
    """Presentation contexts that are proposed."""
    rows = []
    for uid in REQUESTED:
        if uid in RESULTS:
            compressed = uid in (SECONDARY_CAPTURE_STORAGE, MULTIFRAME_TRUE_COLOR_SC)
            syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, *[JPEGLSLossless] * compressed]
        elif uid == STORAGE_COMMITMENT:
            syntaxes = list(commitment.TRANSFER_SYNTAXES)
        else:
            syntaxes = build_context(uid).transfer_syntax
        rows.append((name_of(uid), uid, ", ".join(UID(syntax).name for syntax in syntaxes)))
    return table(("abstract syntax", "UID", "transfer syntaxes"), rows)


def result_objects() -> str:
    """What is sent to destinations."""
    return table(
        ("SOP class", "UID", "content"), [(name_of(uid), uid, what) for uid, what in RESULTS.items()]
    )


def find_keys() -> str:
    """Attributes of the C-FIND queries."""
    return table(
        ("level", "key", "value in the query", "use of the answer"),
        [
            ("IMAGE", "Study Instance UID, Series Instance UID", "those of the series", ""),
            ("IMAGE", "SOP Instance UID", "empty", "compared with the instances that came"),
            ("SERIES", "Study Instance UID, Series Instance UID", "those of the series", "picks the series"),
            ("SERIES", "Number of Series Related Instances", "empty", "compared with how many came"),
        ],
    )


def prior_keys() -> str:
    """Attributes of the C-FIND queries for earlier reports."""
    return table(
        ("level", "key", "value in the query", "use of the answer"),
        [
            ("STUDY", "Patient ID, Patient's Name", "those of the patient, where `identifiers` has them", ""),
            ("STUDY", "Study Date", "from `maximum_days` before the scan to its day", "newest first"),
            ("STUDY", "Study Time", "empty", "newest first"),
            ("STUDY", "Modalities in Study", "empty", "without SR the study is passed over"),
            ("STUDY", "Study Instance UID", "empty", "for the next level"),
            ("SERIES", "Study Instance UID", "one", ""),
            ("SERIES", "Modality", "SR", "others are passed over"),
            ("SERIES", "Series Instance UID", "empty", f"those below {OWN_UID_ROOT[:-1]}"),
            ("IMAGE", "Study Instance UID, Series Instance UID", "one", ""),
            (
                "IMAGE",
                "SOP Instance UID, SOP Class UID",
                "empty",
                f"those below {OWN_UID_ROOT[:-1]} of {name_of(COMPREHENSIVE_3D_SR)}",
            ),
        ],
    )


def prior_policy() -> str:
    """Limits of the search for earlier reports."""
    return table(
        ("policy", "value"),
        [
            ("time for all of it", "`priors.timeout_seconds`, beside the analysis"),
            ("answers to one C-FIND", f"at most {pacs.MAXIMUM_ANSWERS}"),
            ("reports of one study", f"at most {pacs.MOST_REPORTS_OF_A_STUDY}"),
            ("longest report", f"{pacs.MAXIMUM_REPORT_BYTES >> 20} MiB"),
        ],
    )


def store_answers() -> str:
    """What the node makes of a destination's answers to C-STORE, and of Failure Reasons of STOW-RS."""
    return table(
        ("answer", "meaning", "what the node does"),
        [
            *_answers(C_STORE_ANSWERS[:-1], "04X"),
            ("any other status", "", CONSEQUENCES[C_STORE_ANSWERS[-1].verdict]),
            ("presentation context rejected", "", CONSEQUENCES[Verdict.KIND_REFUSED]),
            ("no association", "", CONSEQUENCES[Verdict.UNREACHABLE]),
            ("no answer, abort", "", CONSEQUENCES[Verdict.LOST]),
        ],
    )


def stow_answers() -> str:
    """What the node makes of an HTTP status, where the body says nothing of the object."""
    return table(
        ("status", "meaning", "what the node does"),
        [
            *_answers(HTTP_ANSWERS[:-1], "d"),
            ("any other status", HTTP_ANSWERS[-1].sentence, CONSEQUENCES[HTTP_ANSWERS[-1].verdict]),
        ],
    )


def stow_request() -> str:
    """The request."""
    return table(
        ("part", "value"),
        [
            ("method and path", "POST of `stow_url` + `/studies`, one instance a request"),
            (
                "Content-Type",
                '`multipart/related; type="application/dicom"`; the file as it is',
            ),
            ("Accept", f"`{ACCEPTED}`"),
            ("further headers", "those of `stow_headers`"),
        ],
    )


def commitment_reasons() -> str:
    """What the node does with instances that a destination doesn't promise to keep."""
    rows = [
        (
            f"{reason.value:04X}",
            reason.name.lower().replace("_", " "),
            "it is asked again" if reason in NOT_MISSING else "the object is sent again",
        )
        for reason in FailureReason
    ]
    rows.append(("any other", "", "the object is sent again"))
    return table(("failure reason", "meaning", "what the node does"), rows)


def commitment_policy() -> str:
    """Numbers of storage commitment requests."""
    return table(
        ("policy", "value"),
        [
            ("instances of one request", f"at most {commitment.OBJECTS_A_REQUEST}"),
            (
                "the association stays open for the report",
                f"{commitment.WAIT_FOR_REPORT_SECONDS:g} s, less if there is something to send",
            ),
            (
                "without a report it is asked again",
                f"after {commitment.SHORTEST_PATIENCE_SECONDS / 60:g} min, then as long as it has waited, "
                f"at most {commitment.LONGEST_PATIENCE_SECONDS / 3600:g} h",
            ),
        ],
    )


def _answers(answers: Iterable[Answer], form: str) -> list[tuple[str, str, str]]:
    return [
        (
            f"{row.first:{form}}" + (f" to {row.last:{form}}" if row.last > row.first else ""),
            row.sentence or "success",
            CONSEQUENCES[row.verdict],
        )
        for row in answers
    ]
