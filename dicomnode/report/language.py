"""Labels of the structured report in the language of the house; codes and numbers stay."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydicom.sr.coding import Code

from dicomnode.report.codes import (
    ALGORITHM_NAME,
    SOURCE_DESCRIPTION,
    SOURCE_KERNEL,
    TRACKING_IDENTIFIER,
)
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
        Whole labels. Code meanings and text that is a label are translated; sentences made of numbers stay
        English.
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

    def keeps(self, name: Code | None) -> bool:
        """Whether the text of an item called ``name`` stays as it is: a name is no label."""
        return name in _AS_IT_IS

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
