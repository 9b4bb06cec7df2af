"""run the node: receive, analyze, deliver, until SIGTERM

SIGTERM or Ctrl-C drains: the series being analyzed is finished, everything else waits in the spool for the
next start. A second signal stops at once; nothing that was acknowledged is lost either way. SIGHUP reads the
configuration again: who may send, certificates, times and the log's level change without a restart.

  dicomnode serve --config /etc/dicomnode/dicomnode.toml
"""

from __future__ import annotations

import argparse

from dicomnode.commands.common import CommandError, add_config_argument, configuration_file, read_config
from dicomnode.config import load_config
from dicomnode.logs import configure_logging


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve; 1 when the node can't start."""
    config = read_config(arguments)
    configure_logging(config.log.level, config.log.format)
    from dicomnode.daemon import Daemon  # noqa: PLC0415
    from dicomnode.node import Node  # noqa: PLC0415  (pynetdicom and pydicom take a second to import)
    from dicomnode.spool.errors import SpoolError  # noqa: PLC0415
    from dicomnode.tls import CertificateError  # noqa: PLC0415
    from dicomnode.web.http_server import WebError  # noqa: PLC0415

    try:
        Daemon(Node(config), lambda: load_config(configuration_file(arguments))).run()
    except (SpoolError, CertificateError, WebError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"can't listen on {config.node.host}:{config.node.port}: {error.strerror}"
        ) from error
    return 0
