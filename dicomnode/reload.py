"""Which keys of a configuration that was read again hold at once, and which wait for a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from dicomnode.config import Config

RELOADABLE = (
    "node.tls",
    "access.calling_ae_titles",
    "access.addresses",
    "spool.minimum_free_gb",
    "spool.retention_days",
    "series.quiet_seconds",
    "series.release_seconds",
    "series.deadline_seconds",
    "analysis.waiting_alarm_seconds",
    "priors.sources",
    "priors.identifiers",
    "priors.maximum",
    "priors.maximum_days",
    "priors.timeout_seconds",
    "priors.onset_event",
    "priors.pacs",
    "log.level",
    "log.format",
    "destination",
)
"""What a reload takes over; certificates are read again even where their paths stay the same."""


@dataclass(frozen=True)
class Reload:
    """What becomes of a configuration that was read again.

    Parameters
    ----------
    config:
        What holds from now on: the new values of the reloadable keys, the old ones of all others.
    changed:
        Keys that are different now.
    waiting:
        Keys that differ in the file but need a restart.
    """

    config: Config
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def plan_reload(running: Config, read: Config) -> Reload:
    """Compare what runs with what was read."""
    config: Any = running
    for key in RELOADABLE:
        config = _with_value(config, key.split("."), _value(read, key))
    old, new = _values(running), _values(read)
    different = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return Reload(
        config,
        changed=tuple(key for key in different if key in RELOADABLE),
        waiting=tuple(key for key in different if key not in RELOADABLE),
    )


def _values(config: Config) -> dict[str, object]:
    """Every key with its value; a list of tables, such as ``destination``, is one value."""
    return {
        f"{section}.{key}" if isinstance(table, BaseModel) else section: value
        for section, table in config
        for key, value in (table if isinstance(table, BaseModel) else [("", table)])
    }


def _value(config: Config, key: str) -> object:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _with_value(model: Any, path: list[str], value: object) -> Any:
    name, *rest = path
    inner = _with_value(getattr(model, name), rest, value) if rest else value
    return model.model_copy(update={name: inner})
