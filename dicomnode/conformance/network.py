"""Tables of the networking part, from what the receiving and delivering rooms negotiate and answer."""

from __future__ import annotations

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context

from dicomnode.assemble.decoders import decodable_transfer_syntaxes
from dicomnode.conformance.markdown import table
from dicomnode.deliver import commitment
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.refusal import C_STORE_ANSWERS, Verdict
from dicomnode.deliver.sender import MAXIMUM_CONTEXTS
from dicomnode.receive import status
from dicomnode.receive.access import LOCAL_LIMIT_EXCEEDED, AccessPolicy, Rejection
from dicomnode.receive.presentation_contexts import (
    CT_IMAGE_STORAGE,
    STORAGE_SOP_CLASSES,
    VERIFICATION,
    supported_contexts,
)
from dicomnode.receive.server import ServerSettings
from dicomnode.report.part10 import IMPLEMENTATION_VERSION_NAME
from dicomnode.report.refusal import ENHANCED_SR
from dicomnode.report.secondary_capture import SECONDARY_CAPTURE_STORAGE
from dicomnode.report.seg import SEGMENTATION_STORAGE
from dicomnode.report.sr import COMPREHENSIVE_3D_SR
from dicomnode.report.uids import IMPLEMENTATION_CLASS_UID
from dicomnode.storage_commitment import SOP_CLASS as STORAGE_COMMITMENT

RESULTS = {
    SEGMENTATION_STORAGE: "masks of a measured series",
    COMPREHENSIVE_3D_SR: "measurements of a measured series (TID 1500)",
    ENHANCED_SR: "why a series was not measured",
    SECONDARY_CAPTURE_STORAGE: "a picture of either, for systems that take no SEG or SR",
}
"""SOP classes that are sent to destinations, and what for."""

STORE_STATUSES = {
    status.SUCCESS: (
        "Success",
        "file and ledger are synced to disk; or the node keeps the instance already",
    ),
    status.SOP_CLASS_NOT_SUPPORTED: ("Failure", "the SOP class of the request is not in the table above"),
    status.OUT_OF_RESOURCES: (
        "Failure",
        "free disk would fall below `spool.minimum_free_gb`, or disk or ledger can't be written",
    ),
    status.DOES_NOT_MATCH_SOP_CLASS: (
        "Failure",
        "SOP Class or SOP Instance UID of the data set differ from the command's, or the SOP class from that "
        "of the presentation context",
    ),
    status.CANNOT_UNDERSTAND: (
        "Failure",
        "the data set is cut off or damaged, lacks a UID or has one that is none; or the request lacks a "
        "mandatory parameter",
    ),
}


def services() -> str:
    """The overview: SOP classes and the roles in them."""
    rows = [("Verification", VERIFICATION, "yes", "yes")]
    for uid in dict.fromkeys((*STORAGE_SOP_CLASSES, *RESULTS)):
        name = STORAGE_SOP_CLASSES.get(uid, UID(uid).name)
        rows.append((name, uid, _yes(uid in RESULTS), _yes(uid in STORAGE_SOP_CLASSES)))
    return table(("SOP class", "UID", "SCU", "SCP"), rows)


def acceptor_sop_classes() -> str:
    """What can be sent to the node."""
    rows = [("Verification", VERIFICATION, "answered")]
    for uid, name in STORAGE_SOP_CLASSES.items():
        rows.append((name, uid, "kept and measured" if uid == CT_IMAGE_STORAGE else "kept"))
    return table(("SOP class", "UID", "what becomes of it"), rows)


def acceptor_contexts() -> str:
    """Presentation contexts that are accepted; each SOP class of the storage service has the same."""
    contexts = supported_contexts(decodable_transfer_syntaxes())
    rows = []
    for abstract_syntax in ({VERIFICATION}, set(STORAGE_SOP_CLASSES)):
        syntaxes = {
            tuple(map(str, context.transfer_syntax))
            for context in contexts
            if context.abstract_syntax in abstract_syntax
        }
        (only,) = syntaxes  # else the table needs a row a SOP class
        name = "Verification" if abstract_syntax == {VERIFICATION} else "each storage SOP class above"
        rows += [(name, UID(uid).name, uid, "SCP", "none") for uid in only]
    return table(("abstract syntax", "transfer syntax", "UID", "role", "extended negotiation"), rows)


def store_statuses() -> str:
    """Answers to C-STORE."""
    known = {value for name, value in vars(status).items() if name.isupper()}
    assert known == set(STORE_STATUSES), "each status needs its meaning"
    rows = [(f"{value:04X}", *STORE_STATUSES[value]) for value in sorted(known)]
    return table(("status", "kind", "when"), rows)


def rejections() -> str:
    """A-ASSOCIATE-RJ that the node answers, found by asking the policy itself."""
    policy = AccessPolicy("NODE", ("FRIEND",), ("192.0.2.0/24",))
    inside, outside = "192.0.2.7", "198.51.100.7"
    found = [
        policy.verdict("NODE", "FRIEND", outside),
        policy.verdict("NODE", "FRIEND", inside, "1.2.3"),
        policy.verdict("OTHER", "FRIEND", inside),
        policy.verdict("NODE", "STRANGER", inside),
        LOCAL_LIMIT_EXCEEDED,
    ]
    return table(
        ("result", "source", "reason", "when"),
        [(r.result, r.source, r.reason, r.sentence) for r in found if isinstance(r, Rejection)],
    )


def acceptor_policy() -> str:
    """Limits of associations that the node accepts."""
    defaults = ServerSettings("DICOMNODE")
    return table(
        ("policy", "value"),
        [
            ("associations at once", f"`node.max_associations`, default {defaults.max_associations}"),
            (
                "TCP connections at once",
                f"twice that and 8, so {2 * defaults.max_associations + 8} by default",
            ),
            ("longest P-DATA-TF PDU received", f"`node.max_pdu`, default {defaults.max_pdu} bytes"),
            (
                "longest data set",
                f"`node.max_instance_mb`, default {defaults.max_instance_bytes / 1e6:g} MB; then A-ABORT",
            ),
            (
                "time for the TLS handshake and for A-ASSOCIATE-RQ",
                f"{defaults.negotiation_seconds:g} s each",
            ),
            ("time without a PDU, and time for one PDU", f"{defaults.idle_seconds:g} s, then A-ABORT"),
            ("outstanding operations", "1 (no asynchronous operations window)"),
        ],
    )


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


def identifying_information() -> str:
    """Implementation identifying information, on the network and in files."""
    return table(
        ("where", "Implementation Class UID", "Implementation Version Name"),
        [
            (
                "associations, and files of received instances",
                PYNETDICOM_IMPLEMENTATION_UID,
                PYNETDICOM_IMPLEMENTATION_VERSION,
            ),
            ("files of result objects", IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME),
        ],
    )


def requestor_contexts() -> str:
    """Presentation contexts that are proposed to a destination: one transfer syntax each."""
    echo = build_context(VERIFICATION)  # as dicomnode.deliver.peer.echo proposes it
    rows = [("Verification", VERIFICATION, UID(syntax).name, "SCU") for syntax in echo.transfer_syntax]
    for uid in RESULTS:
        rows += [
            (UID(uid).name, uid, syntax.name, "SCU")
            for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
        ]
    rows += [
        ("Storage Commitment Push Model", STORAGE_COMMITMENT, syntax.name, "SCU")
        for syntax in commitment.TRANSFER_SYNTAXES
    ]
    return table(("abstract syntax", "UID", "transfer syntax", "role"), rows)


def result_objects() -> str:
    """What is sent to destinations."""
    return table(("SOP class", "UID", "content"), [(UID(u).name, u, what) for u, what in RESULTS.items()])


def store_answers() -> str:
    """What the node makes of a destination's answers to C-STORE, and of Failure Reasons of STOW-RS."""
    rows = [
        (
            f"{row.first:04X}" if row.first == row.last else f"{row.first:04X} to {row.last:04X}",
            row.sentence or "success",
            _CONSEQUENCES[row.verdict],
        )
        for row in C_STORE_ANSWERS[:-1]
    ]
    return table(
        ("answer", "meaning", "what the node does"),
        [
            *rows,
            ("any other status", "", _CONSEQUENCES[Verdict.NOT_NOW]),
            ("presentation context rejected", "", _CONSEQUENCES[Verdict.KIND_REFUSED]),
            ("no association", "", _CONSEQUENCES[Verdict.UNREACHABLE]),
            ("no answer, abort", "", _CONSEQUENCES[Verdict.LOST]),
        ],
    )


_CONSEQUENCES = {
    Verdict.STORED: "the object is delivered",
    Verdict.OBJECT_REFUSED: "the object is not sent again; a secondary capture is sent instead",
    Verdict.KIND_REFUSED: "objects of its kind are not sent any more; a secondary capture is sent instead",
    Verdict.NOT_NOW: "the object is sent again later",
    Verdict.LOST: "the destination is tried again later; after some losses at one object others go first",
    Verdict.UNREACHABLE: "the destination is tried again later, then with one object first",
}


def _yes(value: bool) -> str:
    return "yes" if value else ""
