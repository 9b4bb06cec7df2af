"""The whole document."""

from __future__ import annotations

import re
import tempfile
from importlib import resources
from pathlib import Path
from string import Template

from dicomnode.conformance import network, objects, security, settings
from dicomnode.conformance.example import example_objects

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
        "services": network.services(),
        "acceptor_sop_classes": network.acceptor_sop_classes(),
        "acceptor_policy": network.acceptor_policy(),
        "acceptor_contexts": network.acceptor_contexts(),
        "store_statuses": network.store_statuses(),
        "rejections": network.rejections(),
        "requestor_policy": network.requestor_policy(),
        "requestor_contexts": network.requestor_contexts(),
        "result_objects": network.result_objects(),
        "store_answers": network.store_answers(),
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
