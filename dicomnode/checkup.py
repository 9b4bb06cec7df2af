"""What keeps a node from working, found before it matters: the findings of ``dicomnode check``."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dicomnode.config import Config, Tls
from dicomnode.deliver.peer import Peer, echo
from dicomnode.node import destination_of
from dicomnode.segment.card import ModelError, load_installed_card

GIGABYTE = 1e9


@dataclass(frozen=True)
class Finding:
    """One sentence about one subject: ``ok``, a ``note`` to know, or ``wrong`` and to be put right."""

    subject: str
    severity: Literal["ok", "note", "wrong"]
    sentence: str


def check_node(config: Config) -> list[Finding]:
    """Examine everything the node depends on; nothing is changed but for a probe file in the spool."""
    return [
        *_check_port(config),
        *_check_access(config),
        *_check_tls("node.tls", config.node.tls),
        *_check_spool(config),
        *_check_audit(config),
        *_check_model(config),
        *_check_device(config),
        *_check_destinations(config),
    ]


def _check_port(config: Config) -> Iterator[Finding]:
    host, port, title = config.node.host, config.node.port, config.node.ae_title
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            yield Finding("port", "wrong", f"{port} needs a right this user lacks (CAP_NET_BIND_SERVICE)")
        except OSError as error:
            if (
                config.node.tls is None
                and _echo(title, "127.0.0.1" if host == "0.0.0.0" else host, port) is None
            ):
                yield Finding("port", "ok", f"{title} is running on port {port} and answers C-ECHO")
            else:
                yield Finding("port", "wrong", f"can't listen on {host}:{port}: {error.strerror}")
        else:
            yield Finding("port", "ok", f"{host}:{port} is free")


def _check_access(config: Config) -> Iterator[Finding]:
    access = config.access
    if not access.calling_ae_titles and not access.addresses:
        yield Finding("access", "note", "anyone who reaches the port may send; [access] narrows it")
    elif not access.addresses:
        yield Finding("access", "note", "only AE titles are checked, and a sender chooses its own")


def _check_tls(subject: str, tls: Tls | None) -> Iterator[Finding]:
    if tls is None:
        return
    for name in ("cert", "key", "ca"):
        path: Path | None = getattr(tls, name)
        if path and not os.access(path, os.R_OK):
            yield Finding(f"{subject}.{name}", "wrong", f"{path} can't be read")


def _check_spool(config: Config) -> Iterator[Finding]:
    directory = config.spool.directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".check-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        yield Finding("spool", "wrong", f"{directory} can't be written: {error.strerror}")
        return
    free = shutil.disk_usage(directory).free / GIGABYTE
    if free < config.spool.minimum_free_gb:
        yield Finding(
            "spool",
            "wrong",
            f"{directory} has {free:.1f} GB free, below minimum_free_gb = {config.spool.minimum_free_gb:g}: "
            "every C-STORE would be answered with A700",
        )
    else:
        yield Finding("spool", "ok", f"{directory} can be written, {free:.1f} GB free")


def _check_audit(config: Config) -> Iterator[Finding]:
    path = config.log.audit_file
    if path is None:
        yield Finding("audit", "note", "there is no audit trail; log.audit_file turns it on")
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        yield Finding("audit", "wrong", f"{path} can't be written; audit messages would be lost")
    else:
        yield Finding("audit", "ok", f"{path} can be written")


def _check_model(config: Config) -> Iterator[Finding]:
    name = config.analysis.model
    try:
        card = load_installed_card(name)
    except ModelError as error:
        yield Finding("model", "wrong", str(error))
    else:
        yield Finding("model", "ok", f"{name} {card.version}, checksum of the weights is right")


def _check_device(config: Config) -> Iterator[Finding]:
    import torch  # noqa: PLC0415  (takes seconds; the other findings shouldn't wait for it)

    if torch.cuda.is_available():
        yield Finding("device", "ok", f"GPU {torch.cuda.get_device_name()}")
    elif config.analysis.device == "cuda":
        yield Finding("device", "wrong", 'analysis.device is "cuda" but there is no usable GPU')
    else:
        yield Finding("device", "ok", f"CPU, {torch.get_num_threads()} threads; there is no usable GPU")


def _check_destinations(config: Config) -> Iterator[Finding]:
    if not config.destination:
        yield Finding("destination", "note", "there is none: results stay in the spool")
    for settings in config.destination:
        subject = f"destination {settings.name}"
        wrong_files = list(_check_tls(subject, settings.tls))
        yield from wrong_files
        if wrong_files:
            continue
        peer = destination_of(settings, config.node.ae_title).peer
        error = echo(peer)
        if error is None:
            yield Finding(subject, "ok", f"{peer} answers C-ECHO")
        else:
            yield Finding(subject, "wrong", error)


def _echo(ae_title: str, host: str, port: int) -> str | None:
    return echo(Peer(ae_title=ae_title, host=host, port=port, calling_ae_title=ae_title))
