"""What a measurement depends on beside the images: another model measures again."""

from __future__ import annotations

import hashlib

from dicomnode import __version__
from dicomnode.cohort.errors import CohortError
from dicomnode.segment.card import CARD_FILE, load_installed_card
from dicomnode.segment.card_file import LESIONS, ModelError, kind_of


def recipe_of(model: str, config_sha256: str) -> str:
    """Digest of the software's version, the configuration, the model's card and those of its helpers (lobes).

    A card holds the digest of its weights.

    Raises
    ------
    CohortError
        If the model isn't installed or is damaged.
    """
    try:
        chosen = load_installed_card(model).directory
        cards = [
            path for path in sorted(chosen.parent.glob(f"*/{CARD_FILE}")) if kind_of(path.parent) != LESIONS
        ]
    except ModelError as error:
        raise CohortError(str(error)) from error
    digest = hashlib.sha256(f"{__version__} {config_sha256}\n".encode())
    for card in (chosen / CARD_FILE, *cards):
        digest.update(card.read_bytes())
    return digest.hexdigest()
