"""A STOW-RS origin server that answers as it is told and keeps the requests."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dicomnode.deliver.dicom_file import read_dicom_file


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/dicom+json"})


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebServer:
    port: int
    reply: Reply = field(default_factory=Reply)
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"


def answer(path: Path, *, failure: int | None = None, warning: int = 0) -> bytes:
    """A Store Instances Response for the one file."""
    file = read_dicom_file(path)
    item: dict[str, object] = {
        "00081150": {"vr": "UI", "Value": [file.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [file.sop_instance_uid]},
    }
    if failure is not None:
        item["00081197"] = {"vr": "US", "Value": [failure]}
    if warning:
        item["00081196"] = {"vr": "US", "Value": [warning]}
    tag = "00081199" if failure is None else "00081198"
    return json.dumps({tag: {"vr": "SQ", "Value": [item]}}).encode()


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.requests.append(Request(self.path, dict(self.headers), body))
            self._answer()

        def do_GET(self) -> None:
            running.requests.append(Request(self.path, dict(self.headers), b""))
            self._answer()

        def _answer(self) -> None:
            self.send_response(running.reply.status)
            for name, value in running.reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(running.reply.body)))
            self.end_headers()
            self.wfile.write(running.reply.body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """TLS failures are what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    running = WebServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
