"""Tables of the security part: TLS, rejections are in the networking part, audit messages, coded concepts."""

from __future__ import annotations

import ssl

from dicomnode.audit import events
from dicomnode.audit.events import Partner, Reporter, Transfer
from dicomnode.audit.message import AuditMessage
from dicomnode.conformance.markdown import code, table
from dicomnode.receive.patient import Patient
from dicomnode.report import codes
from dicomnode.tls import client_tls

_TLS_1_3 = "TLSv1.3"


def tls_profile() -> str:
    """Versions and cipher suites, as OpenSSL has them after the node has set up its context."""
    context = client_tls()  # server_tls sets up the same
    suites = [suite for suite in context.get_ciphers() if suite["protocol"] != _TLS_1_3]
    newest = ssl.TLSVersion.MAXIMUM_SUPPORTED
    versions = [version for version in ssl.TLSVersion if context.minimum_version <= version != newest]
    return table(
        ("part", "what is allowed"),
        [
            ("versions", ", ".join(version.name.replace("_", ".") for version in versions)),
            ("cipher suites of TLS 1.2", ", ".join(str(suite["name"]) for suite in suites)),
            ("cipher suites of TLS 1.3", "those of the OpenSSL that Python is built with"),
            ("security level of OpenSSL", "2: RSA keys of 2048 bits, curves of 224 bits, no SHA-1"),
        ],
    )


def audit_messages() -> str:
    """Each message that can be written, as the code writes it."""
    reporter = Reporter("NODE", "host", "1")
    partner, patient = Partner("PACS", "192.0.2.7"), Patient("1", "A", "B")
    came = Transfer(partner, True, "1.2", patient, (), {"1.2": 1})
    went = Transfer(partner, False, "1.2", patient, (), {"1.2": 1})
    written = [
        ("the node starts", events.application_activity(reporter, start=True)),
        ("the node stops", events.application_activity(reporter, start=False)),
        ("the first instance of a study comes on an association", events.begin_transferring(reporter, came)),
        (
            "an association ends that brought instances of a study: one message for those that were new",
            events.instances_transferred(reporter, came, "C", 0),
        ),
        ("... one for those that were kept before", events.instances_transferred(reporter, came, "R", 0)),
        ("... one for those that were refused", events.instances_transferred(reporter, came, "C", 4)),
        ("a destination has taken results", events.instances_transferred(reporter, went, "C", 0)),
        ("a destination has refused results", events.instances_transferred(reporter, went, "C", 4)),
        (
            "an association is rejected for good, or a TLS handshake fails",
            events.node_authentication_failed(reporter, partner, "sentence"),
        ),
    ]
    return table(
        ("when", "event", "type", "action", "outcome"),
        [(when, *_cells(message)) for when, message in written],
    )


def _cells(message: AuditMessage) -> tuple[str, str, str, str]:
    type_code = f"{message.type.value} {message.type.meaning}" if message.type else ""
    event = f"{message.event.value} {message.event.meaning}"
    return event, type_code, message.action, str(message.outcome)


def private_codes() -> str:
    """Concepts of the private coding scheme."""
    ours = {
        code_.value: code_ for code_ in codes.every_code() if code_.scheme_designator == codes.PRIVATE_SCHEME
    }
    return table(("code value", "code meaning"), [(code(c.value), c.meaning) for c in ours.values()])


def coding_schemes() -> str:
    """All coding schemes in use, with how many concepts are taken from each."""
    found: dict[str, int] = {}
    for code_ in codes.every_code():
        found[code_.scheme_designator] = found.get(code_.scheme_designator, 0) + 1
    return table(("coding scheme designator", "concepts in use"), sorted(found.items()))
