"""Tables of the networking part: what the node accepts and answers."""

from __future__ import annotations

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from dicomnode.assemble.decoders import decodable_transfer_syntaxes
from dicomnode.conformance.markdown import table
from dicomnode.corrections import SEGMENTATIONS
from dicomnode.receive import commitment, status
from dicomnode.receive.access import LOCAL_LIMIT_EXCEEDED, AccessPolicy, Rejection
from dicomnode.receive.commitment_reports import ReportTimes
from dicomnode.receive.presentation_contexts import (
    CT_IMAGE_STORAGE,
    STORAGE_SOP_CLASSES,
    VERIFICATION,
    supported_contexts,
)
from dicomnode.receive.server import ServerSettings
from dicomnode.report.part10 import IMPLEMENTATION_VERSION_NAME
from dicomnode.report.uids import IMPLEMENTATION_CLASS_UID
from dicomnode.storage_commitment import SOP_CLASS as STORAGE_COMMITMENT

PURPOSES = {
    VERIFICATION: "answered",
    STORAGE_COMMITMENT: "the node promises to keep what it keeps",
    CT_IMAGE_STORAGE: "kept and measured",
    **dict.fromkeys(SEGMENTATIONS, "kept; a person's correction of the node's segments is measured"),
}
"""What becomes of what is sent under a SOP class; all others are kept."""

COMMITMENT_STATUSES = {
    commitment.SUCCESS: "the request is in the ledger; the report follows",
    commitment.PROCESSING_FAILURE: "a fault of the node",
    commitment.NO_SUCH_INSTANCE: "it isn't about the well-known SOP instance of storage commitment",
    commitment.INVALID_ARGUMENT: "the data set can't be read, is empty or too long, or a UID isn't one",
    commitment.NO_SUCH_CLASS: "it isn't about storage commitment, or not on its presentation context",
    commitment.NO_SUCH_ACTION: "another Action Type ID than 1",
    commitment.RESOURCE_LIMITATION: "the ledger can't be written",
}

ALL_STORAGE = "storage SOP classes above"

STORE_STATUSES = {
    status.SUCCESS: (
        "Success",
        "instance and ledger row are synced to disk; or the node keeps the instance already",
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


def acceptor_sop_classes() -> str:
    """What can be sent to the node, or asked of it."""
    rows = [(name_of(uid), uid, PURPOSES.get(uid, "kept")) for uid, _ in accepted()]
    return table(("SOP class", "UID", "what becomes of it"), rows)


def acceptor_contexts() -> str:
    """Presentation contexts that are accepted; a column for SOP classes with the same transfer syntaxes."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for uid, syntaxes in accepted():
        groups.setdefault(syntaxes, []).append(uid)
    names = [
        ALL_STORAGE if set(uids) == set(STORAGE_SOP_CLASSES) else ", ".join(map(name_of, uids))
        for uids in groups.values()
    ]
    rows = [
        (UID(syntax).name, syntax, *("yes" if syntax in syntaxes else "" for syntaxes in groups))
        for syntax in dict.fromkeys(syntax for syntaxes in groups for syntax in syntaxes)
    ]
    return table(("transfer syntax", "UID", *names), rows)


def store_statuses() -> str:
    """Answers to C-STORE."""
    known = {value for name, value in vars(status).items() if name.isupper()}
    assert known == set(STORE_STATUSES), "each status needs its meaning"
    rows = [(f"{value:04X}", *STORE_STATUSES[value]) for value in sorted(known)]
    return table(("status", "kind", "when"), rows)


def commitment_statuses() -> str:
    """Answers to N-ACTION of storage commitment."""
    known = {value for name, value in vars(commitment).items() if name.isupper() and isinstance(value, int)}
    known.discard(commitment.MAXIMUM_LIST_BYTES)
    assert known == set(COMMITMENT_STATUSES), "each status needs its meaning"
    return table(
        ("status", "when"), [(f"{value:04X}", COMMITMENT_STATUSES[value]) for value in sorted(known)]
    )


def commitment_reports() -> str:
    """How and when senders hear what is promised."""
    times = ReportTimes()
    return table(
        ("policy", "value"),
        [
            ("on the association of the request", f"once it has been at rest for {times.rest:g} s"),
            ("time for the answer to N-EVENT-REPORT there", f"{times.answer:g} s"),
            (
                "else, or if that fails",
                "on one that the node opens to the `[[source]]` of the sender's AE title, in the role SCP",
            ),
            (
                "a report that doesn't arrive is tried again",
                f"after {times.first:g} s, then twice as long each time, at most {times.cap:g} s",
            ),
            ("longest list", f"{commitment.MAXIMUM_LIST_BYTES >> 20} MiB"),
        ],
    )


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


def accepted() -> list[tuple[str, tuple[str, ...]]]:
    """Abstract syntaxes that the node supports as acceptor, each with its transfer syntaxes."""
    return [
        (str(context.abstract_syntax), tuple(map(str, context.transfer_syntax)))
        for context in supported_contexts(decodable_transfer_syntaxes())
    ]


def name_of(uid: str) -> str:
    """Name of a SOP class."""
    return STORAGE_SOP_CLASSES.get(uid, UID(uid).name).removesuffix(" SOP Class")
