"""What keeps a node from working, found before it matters: the findings of ``dicomnode check``."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator

from dicomnode import callback
from dicomnode.checkup_tls import check_own_tls, check_tls_towards
from dicomnode.config import Config
from dicomnode.config_sections import LOOPBACK
from dicomnode.deliver.fhir import reach_fhir
from dicomnode.deliver.peer import Peer, echo
from dicomnode.deliver.stow import reach
from dicomnode.findings import Finding
from dicomnode.node import destination_of, fhir_destination
from dicomnode.segment.card import ModelError, load_installed_card
from dicomnode.segment.lobe_card import installed_lobe_card
from dicomnode.segment.lung_card import installed_lung_card
from dicomnode.tls import CertificateError, client_tls

GIGABYTE = 1e9


def check_node(config: Config) -> list[Finding]:
    """Examine everything the node depends on; nothing is changed but for a probe file in the spool."""
    return [
        *_check_port(config),
        *_check_access(config),
        *check_own_tls("node.tls", config.node.tls),
        *_check_spool(config),
        *_check_audit(config),
        *_check_training_directory(config),
        *_check_model(config),
        *_check_device(config),
        *_check_destinations(config),
        *_check_fhir(config),
        *_check_called_back(config),
        *_check_priors(config),
    ]


def _check_port(config: Config) -> Iterator[Finding]:
    host, port = config.node.host, config.node.port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            yield Finding("port", "wrong", f"{port} needs a right this user lacks (CAP_NET_BIND_SERVICE)")
        except OSError as error:
            yield _who_listens(config) or Finding(
                "port", "wrong", f"can't listen on {host}:{port}: {error.strerror}"
            )
        else:
            yield Finding("port", "ok", f"{host}:{port} is free")


def _who_listens(config: Config) -> Finding | None:
    """A finding if it is this node, already running; else ``None``."""
    node, titles = config.node, config.access.calling_ae_titles
    try:
        tls = client_tls(node.tls.cert, node.tls.key, node.tls.ca) if node.tls else None
    except CertificateError:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(node.host, node.host)
    calling = titles[0] if titles else node.ae_title
    peer = Peer(node.ae_title, host, node.port, calling, tls=tls, connect_seconds=5, answer_seconds=5)
    error = echo(peer)
    if error is None:
        return Finding("port", "ok", f"{node.ae_title} is running on port {node.port} and answers C-ECHO")
    if "association rejected" in error or "TLS failed" in error:
        return Finding(
            "port", "note", f"{node.port} is taken, by somebody who turns this check away: {error}"
        )
    return None


def _check_access(config: Config) -> Iterator[Finding]:
    access = config.access
    is_local = config.node.host in LOOPBACK
    if config.node.tls is None and not is_local:
        yield Finding("access", "note", "images and names travel unencrypted; tls in [node] changes that")
    if config.node.tls is not None and config.node.tls.require_client:
        return  # nobody without a certificate gets in
    if is_local:
        return
    if not access.calling_ae_titles and not access.addresses:
        yield Finding("access", "note", "anyone who reaches the port may send; [access] narrows it")
    elif not access.addresses:
        yield Finding("access", "note", "only AE titles are checked, and a sender chooses its own")


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


def _check_training_directory(config: Config) -> Iterator[Finding]:
    directory = config.correction.training_directory
    if directory is None:
        return
    if os.access(directory if directory.exists() else directory.parent, os.W_OK):
        yield Finding("correction", "ok", f"corrected masks are kept for training in {directory}")
    else:
        yield Finding(
            "correction", "wrong", f"{directory} can't be written; corrected masks would not be kept"
        )


def _check_model(config: Config) -> Iterator[Finding]:
    name = config.analysis.model
    try:
        card = load_installed_card(name)
    except ModelError as error:
        yield Finding("model", "wrong", str(error))
    else:
        yield Finding("model", "ok", f"{name} {card.version}, checksum of the weights is right")
    if config.analysis.lungs == "lungs":
        yield from _check_lungs()
    try:
        lobes = installed_lobe_card()
    except ModelError as error:
        yield Finding("lobes", "wrong", str(error))
    else:
        yield (
            Finding("lobes", "ok", f"{lobes.name} {lobes.version}, checksum of the weights is right")
            if lobes
            else Finding("lobes", "note", "no model of lobes is installed; results have no numbers by lobe")
        )


def _check_lungs() -> Iterator[Finding]:
    try:
        lungs = installed_lung_card()
    except ModelError as error:
        yield Finding("lungs", "wrong", str(error))
    else:
        yield (
            Finding("lungs", "ok", f"{lungs.name} {lungs.version}, checksum of the weights is right")
            if lungs
            else Finding("lungs", "note", "no model of lungs is installed; thresholds and shape find them")
        )


def _check_device(config: Config) -> Iterator[Finding]:
    import torch  # noqa: PLC0415  (takes seconds; the other findings shouldn't wait for it)

    if torch.cuda.is_available():
        yield Finding("device", "ok", f"GPU {torch.cuda.get_device_name()}")
    elif config.analysis.device == "cuda":
        yield Finding("device", "wrong", 'analysis.device is "cuda" but there is no usable GPU')
    else:
        yield Finding("device", "ok", f"CPU, {torch.get_num_threads()} threads; there is no usable GPU")
    yield from _check_runtime(config)


def _check_runtime(config: Config) -> Iterator[Finding]:
    import torch  # noqa: PLC0415  (as above)

    from dicomnode.segment.lesions import choose_device  # noqa: PLC0415
    from dicomnode.segment.runtimes import choose, openvino_runtime  # noqa: PLC0415

    wanted = config.analysis.runtime
    if wanted == "openvino" and not openvino_runtime.is_installed():
        yield Finding("runtime", "wrong", 'analysis.runtime is "openvino": pip install dicomnode[openvino]')
        return
    with contextlib.suppress(ModelError):  # told by the device and the model
        device = torch.device(choose_device(config.analysis.device))
        weights = load_installed_card(config.analysis.model).weights.sha256
        yield Finding("runtime", "ok", choose.in_words(weights, device, wanted))


def _check_destinations(config: Config) -> Iterator[Finding]:
    if not config.destination:
        yield Finding("destination", "note", "there is none: results stay in the spool")
    for settings in config.destination:
        subject = f"destination {settings.name}"
        certificates = list(check_tls_towards(f"{subject} tls", settings.tls))
        yield from certificates
        if any(finding.severity == "wrong" for finding in certificates):
            continue
        if missing := [kind for kind in settings.accepts if kind not in config.report.kinds]:
            yield Finding(subject, "note", f"gets no {', '.join(missing)}: report.include doesn't name it")
        destination = destination_of(settings, config.node.ae_title)
        if destination.stow is not None:
            error = reach(destination.stow)
            yield Finding(subject, "wrong" if error else "ok", error or f"{destination.stow} answers")
        if destination.stow is None or destination.commitment:
            error = echo(destination.peer)
            yield Finding(subject, "wrong" if error else "ok", error or f"{destination.peer} answers C-ECHO")


def _check_fhir(config: Config) -> Iterator[Finding]:
    if not config.fhir.url:
        return
    certificates = list(check_tls_towards("fhir tls", config.fhir.tls))
    yield from certificates
    service = None
    if not any(finding.severity == "wrong" for finding in certificates):
        service = fhir_destination(config).fhir
    if service is not None:
        error = reach_fhir(service)
        yield Finding("fhir", "wrong" if error else "ok", error or f"{service} answers")


def _check_called_back(config: Config) -> Iterator[Finding]:
    """Senders and the count source; without them weaker evidence decides, so that nothing here is wrong."""
    for source in config.source:
        subject = f"source {source.ae_title}"
        certificates = list(check_tls_towards(f"{subject} tls", source.tls))
        yield from certificates
        if not any(finding.severity == "wrong" for finding in certificates):
            yield _echoed(subject, callback.source_peer(source, config.node.ae_title))
    try:
        peer = callback.count_source_peer(config)
    except CertificateError:
        return  # told above
    if peer is not None:
        yield _echoed("count_source", peer)


def _check_priors(config: Config) -> Iterator[Finding]:
    if not config.priors.sources:
        yield Finding("priors", "note", "results are not compared with earlier ones")
    if "pacs" not in config.priors.sources or config.priors.pacs is None:
        return
    certificates = list(check_tls_towards("priors.pacs.tls", config.priors.pacs.tls))
    yield from certificates
    if any(finding.severity == "wrong" for finding in certificates):
        return
    pacs = callback.prior_pacs(config)
    assert pacs is not None
    error = pacs.examine()
    way = f"C-FIND, and C-{pacs.method.upper()} is offered"
    yield Finding("priors", "wrong" if error else "ok", error or f"{pacs.peer} answers {way}")


def _echoed(subject: str, peer: Peer) -> Finding:
    error = echo(peer)
    return Finding(subject, "note" if error else "ok", error or f"{peer} answers C-ECHO")
