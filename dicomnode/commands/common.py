"""What several commands share: the configuration option, and errors that are told in one sentence."""

from __future__ import annotations

import argparse
from pathlib import Path

from dicomnode.config import Config, ConfigError, load_config

SYSTEM_CONFIG = Path("/etc/dicomnode/dicomnode.toml")


class CommandError(Exception):
    """The command can't do its work; the message is one sentence for the person who typed it."""


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """``--config FILE``, the same for every command that needs it."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration (default: {SYSTEM_CONFIG} where it exists, else built-in defaults; "
        "environment variables DICOMNODE_SECTION__KEY win)",
    )


def configuration_file(arguments: argparse.Namespace) -> Path | None:
    """What ``--config`` names, else the system's where there is one."""
    path: Path | None = arguments.config
    return path or (SYSTEM_CONFIG if SYSTEM_CONFIG.is_file() else None)


def read_config(arguments: argparse.Namespace) -> Config:
    """The configuration that ``--config`` names.

    Raises
    ------
    CommandError
        With one line a finding.
    """
    path = configuration_file(arguments)
    try:
        return load_config(path)
    except ConfigError as error:
        raise CommandError(f"configuration {path or 'from the environment'} is wrong:\n{error}") from error
