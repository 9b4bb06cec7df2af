"""Commands that the documents print, and how each is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

PROGRAMS = (
    "dicomnode",
    "make",
    "python",
    "python3",
    "systemctl",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "curl",
    "ray",
)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^\n)((?:^ {4}\S.*\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class DocumentCommand:
    """A line that a reader may type."""

    document: str
    line: str

    @property
    def words(self) -> list[str]:
        """The line as a shell splits it, without ``sudo -u USER``."""
        words = shlex.split(self.line)
        return words[3:] if words[:2] == ["sudo", "-u"] else words

    def __str__(self) -> str:
        return f"{self.document}: {self.line}"


def document_commands() -> list[DocumentCommand]:
    """Every command of every document, once each."""
    documents = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    found = [command for document in documents for command in _commands_of(document)]
    return list(dict.fromkeys(found))


def _commands_of(document: Path) -> Iterator[DocumentCommand]:
    text = document.read_text(encoding="utf-8")
    blocks = [body for language, body in FENCED.findall(text) if language in {"", "sh", "shell", "console"}]
    blocks += INDENTED.findall(FENCED.sub("", text))
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*$", "", line).strip()
            first = command.split(" ")[0]
            if first in PROGRAMS or command.startswith("sudo -u dicomnode dicomnode"):
                yield DocumentCommand(str(document.relative_to(REPOSITORY)), re.sub(r"\s+", " ", command))
