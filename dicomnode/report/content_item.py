"""Content items of a structured report (PS3.3 C.17.3), encoded without a data set of their own.

A report has hundreds of them, each with codes that are data sets again: as objects of a library they take
longer than everything else in the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pydicom.sr.coding import Code

from dicomnode.report.codes import LANGUAGE
from dicomnode.report.encoding import DEFAULT_ENCODING, encode_element, encode_sequence
from dicomnode.report.language import Language

RELATIONSHIP_TYPE = 0x0040A010
VALUE_TYPE = 0x0040A040
CONCEPT_NAME = 0x0040A043
TEXT_VALUE = 0x0040A160
CONCEPT_CODE = 0x0040A168
CONTENT = 0x0040A730
CODE_VALUE = 0x00080100
CODING_SCHEME = 0x00080102
CODE_MEANING = 0x00080104
LONG_CODE_VALUE = 0x00080119
LONGEST_CODE_VALUE = 16
"""Characters of a Code Value (SH, PS3.5 6.2)."""


@dataclass(frozen=True, eq=False)
class ContentItem:
    """One node of the tree.

    Parameters
    ----------
    value_type:
        "CONTAINER", "TEXT", "NUM" ...
    name:
        Concept name; an image may have none.
    relationship:
        To the node above it; ``None`` for the root.
    text, concept:
        Value of a TEXT and of a CODE item; they are what a language changes.
    encoded:
        Further elements by tag.
    children:
        The nodes below it.
    """

    value_type: str
    name: Code | None
    relationship: str | None
    text: str | None = None
    concept: Code | None = None
    encoded: Mapping[int, bytes] = field(default_factory=dict)
    children: Sequence[ContentItem] = ()

    def elements(self, words: Language | None) -> dict[int, bytes]:
        """Its encoded elements by tag but the relationship; with ``words`` its labels are those, in UTF-8."""
        encoding = DEFAULT_ENCODING if words is None else "utf8"
        found = {VALUE_TYPE: encode_element(VALUE_TYPE, "CS", self.value_type.encode("ascii"))}
        if self.name is not None:
            found[CONCEPT_NAME] = encode_sequence(CONCEPT_NAME, [_said(self.name, words)])
        if self.concept is not None:
            spoken = words is not None and self.name == LANGUAGE
            concept = _of_language(words) if words is not None and spoken else _said(self.concept, words)
            found[CONCEPT_CODE] = encode_sequence(CONCEPT_CODE, [concept])
        if self.text is not None:
            said = self.text if words is None or words.keeps(self.name) else words.of(self.text)
            found[TEXT_VALUE] = encode_element(TEXT_VALUE, "UT", said.encode(encoding))
        if self.children:
            found[CONTENT] = encode_sequence(CONTENT, (child.encode(words) for child in self.children))
        return {**found, **self.encoded}

    def encode(self, words: Language | None) -> bytes:
        """The whole item below another one."""
        elements = self.elements(words)
        if self.relationship is not None:
            elements[RELATIONSHIP_TYPE] = encode_element(
                RELATIONSHIP_TYPE, "CS", self.relationship.encode("ascii")
            )
        return b"".join(elements[tag] for tag in sorted(elements))


@lru_cache(maxsize=4096)
def encode_code(value: str, scheme: str, meaning: str, encoding: str = DEFAULT_ENCODING) -> bytes:
    """A code as an item (PS3.3 8.8)."""
    is_long = len(value) > LONGEST_CODE_VALUE
    before = b"" if is_long else encode_element(CODE_VALUE, "SH", value.encode("ascii"))
    after = encode_element(LONG_CODE_VALUE, "UC", value.encode("ascii")) if is_long else b""
    return (
        before
        + encode_element(CODING_SCHEME, "SH", scheme.encode("ascii"))
        + encode_element(CODE_MEANING, "LO", meaning.encode(encoding))
        + after
    )


def _said(code: Code, words: Language | None) -> bytes:
    if words is None:
        return encode_code(code.value, code.scheme_designator, code.meaning)
    return encode_code(code.value, code.scheme_designator, words.of(code.meaning), "utf8")


def _of_language(words: Language) -> bytes:
    """The language of the document, by its RFC 5646 tag."""
    return encode_code(words.tag, "RFC5646", words.name, "utf8")
