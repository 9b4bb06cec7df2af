"""Who computes: a worker of the cluster must be what the node itself would be, or its numbers are others."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dicomnode
from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.recipe import recipe_of


@dataclass(frozen=True)
class Identity:
    """What a machine would compute with.

    Parameters
    ----------
    host:
        Its name, for messages; not compared.
    version:
        Of the software.
    code_sha256:
        Digest of the package's source files.
    models_sha256:
        Digest of the cards (which hold their weights' digests) that an analysis uses; empty if the model is
        not installed.
    """

    host: str
    version: str
    code_sha256: str
    models_sha256: str

    @classmethod
    def here(cls, model: str) -> Identity:
        """That of this machine."""
        try:
            models = recipe_of(model, "")
        except CohortError:
            models = ""
        return cls(platform.node(), dicomnode.__version__, _code_sha256(), models)

    def difference(self, other: Identity) -> str:
        """What keeps ``other`` from computing for this one, as a sentence; empty if nothing does."""
        if (self.version, self.code_sha256) != (other.version, other.code_sha256):
            return (
                f"the worker on {other.host} runs other code (dicomnode {other.version}) than this node "
                f"({self.version}); install the same version on both"
            )
        if self.models_sha256 != other.models_sha256:
            return f"the worker on {other.host} has other models than this node; install the same on both"
        return ""


@cache
def _code_sha256() -> str:
    package = Path(dicomnode.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
