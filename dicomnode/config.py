"""The validated configuration: a TOML file, then environment variables ``DICOMNODE_SECTION__KEY``."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dicomnode.config_sections import (
    Access,
    Analysis,
    Correction,
    Destination,
    Fhir,
    Log,
    Node,
    Priors,
    Report,
    Series,
    Source,
    Spool,
    Web,
)

ENVIRONMENT_PREFIX = "DICOMNODE_"

FHIR_NAME = "fhir"
"""What the FHIR server is called among the destinations."""


class ConfigError(Exception):
    """The configuration can't be used; the message has one line a finding, each naming its key."""


class Config(BaseSettings):
    """Everything the node is told.

    Read with :func:`load_config`; the sections and keys are described in ``config/dicomnode.toml``.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__"
    )

    node: Node = Field(default_factory=Node)
    access: Access = Field(default_factory=Access)
    spool: Spool = Field(default_factory=Spool)
    series: Series = Field(default_factory=Series)
    analysis: Analysis = Field(default_factory=Analysis)
    report: Report = Field(default_factory=Report)
    fhir: Fhir = Field(default_factory=Fhir)
    correction: Correction = Field(default_factory=Correction)
    destination: tuple[Destination, ...] = ()
    source: tuple[Source, ...] = ()
    priors: Priors = Field(default_factory=Priors)
    web: Web = Field(default_factory=Web)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _destinations_have_names_of_their_own(self) -> Config:
        names = [destination.name for destination in self.destination]
        if self.fhir.url:
            names.append(FHIR_NAME)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two destinations have the name {twice[0]!r}")
        return self

    def analysis_sha256(self) -> str:
        """SHA-256 of the part of the configuration that changes a result."""
        # who gets what changes no object, and the two forms of the overlay have UIDs of their own
        report = self.report.model_dump(mode="json", exclude={"include", "overlay", "seg"})
        relevant = {
            "analysis": {"model": self.analysis.model, "lungs": self.analysis.lungs},
            "report": report,
        }
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


def load_config(path: Path | None) -> Config:
    """Read ``path`` and the environment; the environment wins (``DICOMNODE_NODE__PORT=104``).

    Parameters
    ----------
    path:
        TOML file, or ``None`` for the defaults and the environment alone.

    Raises
    ------
    ConfigError
        If the file can't be read or a value is wrong.
    """
    if path is not None and not path.is_file():
        raise ConfigError(f"there is no configuration file {path}")
    if strays := _stray_variables():
        raise ConfigError("\n".join(f"{name}: there is no such section" for name in strays))

    class FileThenEnvironment(Config):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = (TomlConfigSettingsSource(settings_cls, path),) if path else ()
            return (env_settings, *toml)

    try:
        return FileThenEnvironment()
    except ValidationError as error:
        raise ConfigError("\n".join(_findings(error))) from error
    except ValueError as error:  # TOML syntax, an environment variable that isn't JSON where it must be
        raise ConfigError(f"{path or 'environment'}: {error}") from error


def _stray_variables() -> list[str]:
    """Variables that look like configuration but name no section; pydantic would pass over them."""
    sections = {name.upper() for name in Config.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.startswith(ENVIRONMENT_PREFIX)
        and "__" in name
        and name.removeprefix(ENVIRONMENT_PREFIX).split("__")[0] not in sections
    )


def _findings(error: ValidationError) -> list[str]:
    lines = []
    for finding in error.errors():
        where = ".".join(str(part) for part in finding["loc"]) or "configuration"
        message = finding["msg"].removeprefix("Value error, ")
        if finding["type"] == "extra_forbidden":
            message = "there is no such key"
        lines.append(f"{where}: {message}")
    return lines
