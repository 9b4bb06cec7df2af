"""The whole document."""

from __future__ import annotations

import re
import tempfile
from importlib import resources
from pathlib import Path
from string import Template

from dicomnode.conformance import network, objects, requestor, security, settings
from dicomnode.conformance.example import example_objects
from dicomnode.receive.count_source import MAXIMUM_ANSWERS

TEMPLATE = "template.md"
_HEADING = re.compile(r"^(?P<marks>##+) (?P<title>.+)$", flags=re.MULTILINE)


def render() -> str:
    """The conformance statement of this version in Markdown.

    Raises
    ------
    KeyError
        If the template asks for a table that there isn't, or an attribute's origin isn't described.
    """
    template = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return Template(template).substitute(_tables(), contents=_contents(template))


def _tables() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        made = example_objects(Path(folder))
    return {
        "services": requestor.services(),
        "acceptor_sop_classes": network.acceptor_sop_classes(),
        "acceptor_policy": network.acceptor_policy(),
        "acceptor_contexts": network.acceptor_contexts(),
        "store_statuses": network.store_statuses(),
        "rejections": network.rejections(),
        "requestor_policy": requestor.requestor_policy(),
        "requestor_contexts": requestor.requestor_contexts(),
        "result_objects": requestor.result_objects(),
        "store_answers": requestor.store_answers(),
        "commitment_statuses": network.commitment_statuses(),
        "commitment_reports": network.commitment_reports(),
        "find_keys": requestor.find_keys(),
        "prior_keys": requestor.prior_keys(),
        "prior_policy": requestor.prior_policy(),
        "maximum_answers": f"{MAXIMUM_ANSWERS:d}",
        "stow_request": requestor.stow_request(),
        "stow_answers": requestor.stow_answers(),
        "commitment_policy": requestor.commitment_policy(),
        "commitment_reasons": requestor.commitment_reasons(),
        "identifying_information": network.identifying_information(),
        "parameters": settings.parameters(),
        "tls_parameters": settings.tls_parameters(),
        "tls_profile": security.tls_profile(),
        "audit_messages": security.audit_messages(),
        "identity": objects.identity(),
        "seg_class": objects.sop_class(made.segmentations),
        "seg": objects.attributes(made.segmentations),
        "segments": objects.segments(made.segmentations),
        "measured_class": objects.sop_class(made.measured),
        "measured": objects.attributes(made.measured),
        "measured_tree": objects.content_tree(made.measured),
        "refusal_class": objects.sop_class(made.refusals),
        "refusal": objects.attributes(made.refusals),
        "refusal_tree": objects.content_tree(made.refusals),
        "picture_class": objects.sop_class(made.pictures),
        "picture": objects.attributes(made.pictures),
        **{
            f"{kind}{part}": show(made.further[kind])
            for kind in made.further
            for part, show in (("_class", objects.sop_class), ("", objects.attributes))
        },
        "private_codes": security.private_codes(),
        "coding_schemes": security.coding_schemes(),
    }


def _contents(template: str) -> str:
    """Links to the chapters and sections."""
    lines = []
    for heading in _HEADING.finditer(template):
        title, depth = heading["title"], len(heading["marks"]) - 2
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        if depth < 2 and title != "Table of contents":
            lines.append(f"{'  ' * depth}- [{title}](#{anchor})")
    return "\n".join(lines)
