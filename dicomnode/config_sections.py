"""The sections of the configuration; their keys are described in ``config/dicomnode.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from dicomnode.config_values import (
    AETitle,
    ClusterAddress,
    HttpAddress,
    HttpHeaders,
    Network,
    PeerAddress,
    Port,
    not_in_this_version,
)
from dicomnode.report.result_set import LanguageName

Kind = Literal["seg", "sr", "sc", "labelmap", "overlay", "pdf", "ko", "gsps"]
"""Kinds of result object that DICOM has; FHIR has a section of its own."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Tls(_Section):
    """Files in PEM.

    ``require_client``, where the node is called: the caller needs a certificate signed by ``ca``.
    ``check_host``, where it calls: the name in the peer's certificate must be ``host``.
    """

    cert: Path
    key: Path
    ca: Path | None = None
    require_client: bool = False
    check_host: bool = False

    @model_validator(mode="after")
    def _client_needs_ca(self) -> Tls:
        if self.require_client and self.ca is None:
            raise ValueError("require_client needs ca, the certificates that clients must be signed by")
        return self


class Node(_Section):
    """The node's own application entity."""

    ae_title: AETitle = "DICOMNODE"
    host: str = "0.0.0.0"
    port: Port = 11112
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 32
    max_pdu: Annotated[int, Field(ge=4096, le=1 << 20)] = 128 * 1024
    max_instance_mb: Annotated[float, Field(gt=0)] = 512.0
    tls: Tls | None = None


class Access(_Section):
    """Who may send; an empty list means anyone."""

    calling_ae_titles: tuple[AETitle, ...] = ()
    addresses: tuple[Network, ...] = ()


class Spool(_Section):
    """Where instances, results and the ledger live."""

    directory: Path = Path("/var/lib/dicomnode")
    minimum_free_gb: Annotated[float, Field(ge=0)] = 5.0
    retention_days: Annotated[float, Field(ge=0)] = 0.0


class Series(_Section):
    """When a series counts as complete, and which series are wanted."""

    quiet_seconds: Annotated[float, Field(gt=0)] = 10.0
    release_seconds: Annotated[float, Field(gt=0)] = 2.0
    deadline_seconds: Annotated[float, Field(gt=0)] = 900.0
    count_source: PeerAddress = ""
    accept: Annotated[dict[str, str], not_in_this_version("choosing series by attributes")] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _ordered(self) -> Series:
        if self.deadline_seconds < self.quiet_seconds:
            raise ValueError("deadline_seconds must not be shorter than quiet_seconds")
        if self.quiet_seconds < self.release_seconds and "release_seconds" in self.model_fields_set:
            raise ValueError("release_seconds must not be longer than quiet_seconds")
        return self


class Analysis(_Section):
    """Which model computes where, and for how long at the most."""

    model: str = "best"
    lungs: Literal["classical", "lungs"] = "classical"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runtime: Literal["auto", "torch", "fused", "openvino"] = "auto"
    timeout_seconds: Annotated[float, Field(gt=0)] = 900.0
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    early: bool = True
    waiting_alarm_seconds: Annotated[float, Field(gt=0)] = 3600.0
    urgent_ae_titles: tuple[AETitle, ...] = ()
    cluster: ClusterAddress = ""
    cluster_cpus: Annotated[float, Field(gt=0, le=256)] = 4.0


class Report(_Section):
    """Which result objects are made."""

    seg: Literal["binary", "labelmap"] = "binary"
    include: tuple[Kind, ...] = ("seg", "sr")
    overlay: Literal["single", "multiframe"] = "single"
    language: LanguageName = "en"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """``include``, and the label map where ``seg`` asks for it besides the binary one."""
        wants_map = self.seg == "labelmap" and "labelmap" not in self.include
        return (*self.include, "labelmap") if wants_map else self.include

    @model_validator(mode="after")
    def _report_points_to_masks(self) -> Report:
        if "sr" in self.include and "seg" not in self.include:
            raise ValueError('include: "sr" needs "seg", its measurements refer to the segments')
        return self


class Retry(_Section):
    """Wait between attempts: ``first_seconds``, then ``factor`` times longer, at most ``cap_seconds``."""

    first_seconds: Annotated[float, Field(gt=0)] = 5.0
    factor: Annotated[float, Field(ge=1)] = 2.0
    cap_seconds: Annotated[float, Field(gt=0)] = 900.0


class Fhir(_Section):
    """A FHIR R4 server that gets each result as a bundle; none without ``url``."""

    url: HttpAddress = ""
    headers: HttpHeaders = Field(default_factory=dict)
    tls: Tls | None = None
    retry: Retry = Field(default_factory=Retry)
    alarm_seconds: Annotated[float, Field(gt=0)] = 3600.0


class Correction(_Section):
    """What becomes of masks that a person has edited."""

    training_directory: Path | None = None


class Destination(_Section):
    """A storage SCP that gets the results."""

    name: Annotated[str, Field(min_length=1)]
    ae_title: AETitle
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: Tls | None = None
    accepts: tuple[Kind, ...] = ("seg", "sr")
    commitment: bool = False
    deflate: bool = False
    retry: Retry = Field(default_factory=Retry)
    alarm_seconds: Annotated[float, Field(gt=0)] = 3600.0
    stow_url: HttpAddress = ""
    stow_headers: HttpHeaders = Field(default_factory=dict)


class Source(_Section):
    """A system that sends, where the node can call it back: to report storage commitment."""

    ae_title: AETitle
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: Tls | None = None


class PriorPacs(_Section):
    """A query/retrieve SCP that holds the node's earlier reports; with C-MOVE it must know the node."""

    ae_title: AETitle
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: Tls | None = None
    method: Literal["get", "move"] = "get"


class Priors(_Section):
    """Where earlier results of the same patient are looked for, and how the patient is recognised."""

    sources: tuple[Literal["ledger", "pacs"], ...] = ("ledger",)
    identifiers: tuple[
        Literal["PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"], ...
    ] = ("PatientID", "IssuerOfPatientID")
    maximum: Annotated[int, Field(ge=1, le=100)] = 10
    maximum_days: Annotated[int, Field(ge=1)] = 365
    timeout_seconds: Annotated[float, Field(gt=0)] = 20.0
    onset_event: str = ""
    pacs: PriorPacs | None = None

    @model_validator(mode="after")
    def _who_and_where(self) -> Priors:
        if not {"PatientID", "PatientName"} & set(self.identifiers):
            raise ValueError("identifiers must have PatientID or PatientName")
        if "pacs" in self.sources and self.pacs is None:
            raise ValueError('sources: "pacs" needs pacs = { ae_title, host, port }')
        return self


class Web(_Section):
    """The page, ``/metrics``, ``/healthz`` and ``/readyz``; port 0 turns them off.

    ``proxy_addresses``: reverse proxies whose ``proxy_user_header`` says who it is. ``identifiers``: patient
    ID, accession number and the like are shown and can be searched for.
    """

    host: str = "127.0.0.1"
    port: Port = 8104
    token: SecretStr = SecretStr("")
    proxy_addresses: tuple[Network, ...] = ()
    proxy_user_header: Annotated[str, Field(pattern="^[A-Za-z0-9-]+$")] = "X-Forwarded-User"
    identifiers: bool = False

    @model_validator(mode="after")
    def _open_only_with_token(self) -> Web:
        asks = self.token.get_secret_value() or self.proxy_addresses
        if self.port and not asks and self.host not in LOOPBACK:
            raise ValueError("token: an address other than loopback needs an access token")
        return self


class Log(_Section):
    """What is logged, and how; patient identifiers only with ``identifiers``."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"
    identifiers: bool = False
    audit_file: Path | None = None
