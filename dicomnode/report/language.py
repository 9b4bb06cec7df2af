"""Labels of the structured report in the language of the house; codes and numbers stay."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicomnode.report.codes import (
    ALGORITHM_NAME,
    LANGUAGE,
    SOURCE_DESCRIPTION,
    SOURCE_KERNEL,
    TRACKING_IDENTIFIER,
)
from dicomnode.report.identity import Identity
from dicomnode.report.part10 import write_part10
from dicomnode.report.result_set import LanguageName

CATALOGUES = Path(__file__).parent / "languages"
_AS_IT_IS = (TRACKING_IDENTIFIER, ALGORITHM_NAME, SOURCE_DESCRIPTION, SOURCE_KERNEL)
"""Names: of the segment, the model and the source; a kernel may be called "Lung"."""

LONGEST_MEANING = 64
"""Characters of a Code Meaning (LO, PS3.5 6.2)."""


@dataclass(frozen=True)
class Language:
    """A catalogue: English labels and what they are called.

    Parameters
    ----------
    tag, name:
        RFC 5646 tag, and what the language calls itself.
    terms:
        Whole labels.
    patterns, parts:
        Labels with a gap ``{}``, and what may stand in it.
    """

    tag: str
    name: str
    terms: dict[str, str]
    patterns: dict[str, str]
    parts: dict[str, str]

    def of(self, english: str) -> str:
        """What ``english`` is called; itself where the catalogue doesn't have it."""
        if english in self.terms:
            return self.terms[english]
        for pattern, translated in self.patterns.items():
            found = re.fullmatch(re.escape(pattern).replace(r"\{\}", "(.+)"), english)
            if found and found[1] in self.parts:
                return translated.format(self.parts[found[1]])
        return english

    def knows(self, english: str) -> bool:
        """Whether the catalogue has a label."""
        return english in self.terms or self.of(english) != english


@cache
def language(name: LanguageName) -> Language | None:
    """The catalogue of a language; ``None`` for English, which needs none."""
    if name == "en":
        return None
    catalogue = tomllib.loads((CATALOGUES / f"{name}.toml").read_text(encoding="utf-8"))
    return Language(**catalogue)


def write_document(path: Path, dataset: Dataset, identity: Identity, words: Language | None) -> None:
    """Write a structured report, in ``words`` where there are any; ``identity`` must then be in UTF-8."""
    if words is None:
        write_part10(path, dataset, identity.elements)
    else:
        localize(dataset, words)
        write_part10(path, dataset, identity.elements, encoding="utf8")


def localize(item: Dataset, words: Language) -> None:
    """Translate the labels of a content item and all below it in place.

    Code meanings and text that is a label are translated; sentences made of numbers stay English.
    """
    for concept in (*item.get("ConceptNameCodeSequence", []), *item.get("ConceptCodeSequence", [])):
        concept.CodeMeaning = words.of(str(concept.CodeMeaning))
    if "TextValue" in item and not any(_is_named(item, name) for name in _AS_IT_IS):
        item.TextValue = words.of(str(item.TextValue))
    if _is_named(item, LANGUAGE):
        (value,) = item.ConceptCodeSequence
        value.CodeValue, value.CodeMeaning = words.tag, words.name
    for child in item.get("ContentSequence", []):
        localize(child, words)


def _is_named(item: Dataset, concept: Code) -> bool:
    names = item.get("ConceptNameCodeSequence") or [Dataset()]
    found = names[0].get("CodeValue"), names[0].get("CodingSchemeDesignator")
    return found == (concept.value, concept.scheme_designator)
