"""The table of configuration parameters, from the configuration's own types and the commented file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from dicomnode.config import Config
from dicomnode.config_sections import Tls
from dicomnode.conformance.markdown import code, table

COMMENTED_FILE = "dicomnode.toml"
"""A link to ``config/dicomnode.toml``."""

_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most"}
_TYPES = {bool: "true, false", int: "whole number", float: "number", str: "text", Path: "path"}
_HEADING = re.compile(r"(?:# )?\[+(?P<section>[a-z]+)\]+")
_ENTRY = re.compile(r"(?:# )?(?P<key>[a-z_]+) = (?P<rest>.*)")
_VALUE_THEN_COMMENT = re.compile(r"(?:\"[^\"]*\"|[^\"#])*(?:# *(?P<meaning>.*))?")


def parameters() -> str:
    """All keys that this version takes, with what they may be, their default and their meaning."""
    return table(("parameter", "values", "default", "meaning"), _rows())


def tls_parameters() -> str:
    """The keys of each ``tls``."""
    return table(
        ("parameter", "values", "default"),
        [(code(key), _values(field), _default(field)) for key, field in Tls.model_fields.items()],
    )


def _rows() -> Iterator[tuple[str, str, str, str]]:
    meanings = _meanings()
    for section, field in Config.model_fields.items():
        (model,) = [part for part in _parts(field.annotation) if issubclass(part, BaseModel)]
        name = f"[[{section}]]" if get_origin(field.annotation) is tuple else section
        for key, inner in model.model_fields.items():
            if "not_in_this_version" not in repr(inner.metadata):
                meaning = "see below" if key == "tls" else meanings.get((section, key), "")
                yield code(f"{name}.{key}"), _values(inner), _default(inner), meaning


def _meanings() -> dict[tuple[str, str], str]:
    """The comment behind each key of the commented file."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    text = resources.files(__package__).joinpath(COMMENTED_FILE).read_text(encoding="utf-8")
    for line in text.splitlines():
        if heading := _HEADING.fullmatch(line):
            section = heading["section"]
        elif entry := _ENTRY.fullmatch(line):
            comment = _VALUE_THEN_COMMENT.fullmatch(entry["rest"])
            found.setdefault((section, entry["key"]), (comment and comment["meaning"]) or "")
    return found


def _parts(annotation: Any) -> list[Any]:
    """The types in an annotation: of a union or a container."""
    if get_origin(annotation) in (tuple, Union, UnionType):
        return [part for part in get_args(annotation) if part not in (..., type(None))]
    return [annotation]


def _values(field: FieldInfo) -> str:
    kinds, limits = _parts(field.annotation), _limits(field)
    kind = get_args(kinds[0])[0] if get_args(kinds[0]) and get_origin(kinds[0]) is not Literal else kinds[0]
    if get_origin(kind) is Literal:
        words = ", ".join(map(str, get_args(kind)))
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        words = ", ".join(kind.model_fields)
    else:
        words = _TYPES.get(kind, "text")
    is_list = get_origin(field.annotation) is tuple
    return ("list of " if is_list else "") + words + (f", {limits}" if limits else "")


def _limits(field: FieldInfo) -> str:
    found = {name: getattr(part, name) for part in field.metadata for name in _LIMITS if hasattr(part, name)}
    if {"ge", "le"} <= found.keys():
        return f"{found['ge']} to {found['le']}"
    return ", ".join(f"{_LIMITS[name]} {value}" for name, value in found.items())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, BaseModel):
        return ", ".join(f"{key} {inner}" for key, inner in value.model_dump().items())
    if isinstance(value, tuple):
        return code(", ".join(value)) or "empty"
    if isinstance(value, bool):
        return code(str(value).lower())
    return "none" if value in (None, "", {}) else code(value)
