"""The file a model's card is, and the weights beside it: read, typed and verified."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

CARD_FILE = "model.toml"
UNTRAINED_FILE = "untrained.toml"
"""Card of a model that can be trained but has no weights yet: it is not among the installed ones."""

LESIONS = "lesions"
"""Kind of a model whose card doesn't say which."""

T = TypeVar("T")


class ModelError(Exception):
    """A model can't be used; one sentence that says which, why and what to do."""


def card_path(directory: Path) -> Path:
    """The card in a model's folder, trained or not."""
    untrained = directory / UNTRAINED_FILE
    card = directory / CARD_FILE
    return untrained if untrained.is_file() and not card.is_file() else card


def read_document(directory: Path) -> dict[str, Any]:
    """The TOML document of a model's card.

    Raises
    ------
    ModelError
        If it can't be read.
    """
    path = card_path(directory)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"no model card at {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"the model card {path} is no valid TOML: {error}") from error


def kind_of(directory: Path) -> str:
    """Kind of the model in a folder: ``lesions`` unless its card names another.

    Raises
    ------
    ModelError
        If the card can't be read.
    """
    return str(read_document(directory).get("kind", LESIONS))


def model_folders(models: Path, kind: str) -> list[Path]:
    """The folders of a models directory that hold a model of a kind, sorted by name.

    Raises
    ------
    ModelError
        If a card can't be read.
    """
    folders = sorted(path.parent for path in models.glob(f"*/{CARD_FILE}"))
    return [folder for folder in folders if kind_of(folder) == kind]


def verify_weights(model: str, path: Path, sha256: str) -> None:
    """Make sure that weights are there and those of the card.

    Raises
    ------
    ModelError
        If they are missing or others.
    """
    if not path.is_file():
        raise ModelError(f"model {model}: the weights {path} are missing; reinstall the model")
    found = sha256_of(path)
    if found != sha256:
        raise ModelError(
            f"model {model}: the weights {path} have SHA-256 {found}, "
            f"the card says {sha256}; reinstall the model"
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_section(cls: type[T], values: object, where: str) -> T:
    """``cls`` from a table, every key known, none missing, each value of its field's type.

    Raises
    ------
    ModelError
        If it isn't so; ``where`` says in which table.
    """
    if not isinstance(values, dict):
        raise ModelError(f"{where} must be a table")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    known = {entry.name: entry for entry in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - known.keys()):
        raise ModelError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(known)}")
    required = {n for n, e in known.items() if e.default is MISSING and e.default_factory is MISSING}
    if missing := sorted(required - values.keys()):
        raise ModelError(f"{where}: {', '.join(missing)} missing")
    for name, value in values.items():
        if not _has_type(value, str(known[name].type)):
            raise ModelError(f"{where}: {name} must be {known[name].type}, got {value!r}")
    try:
        return cls(**values)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from error


def _has_type(value: object, annotation: str) -> bool:
    annotation = annotation.removesuffix(" | None")
    if annotation in ("float", "int"):
        number = isinstance(value, int) or (annotation == "float" and isinstance(value, float))
        return number and not isinstance(value, bool)
    if annotation == "str":
        return isinstance(value, str)
    if annotation == "tuple[str, ...]":
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if annotation == "dict[str, int]":
        return isinstance(value, dict) and all(type(item) is int for item in value.values())
    return True
