"""The viewer's server: files, routes of the application, and the PACS behind it, on one origin."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from dicomnode.demo.orthanc import free_port
from dicomnode.demo.viewer import ViewerServer

STUDIES = [{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}]


class Pacs(BaseHTTPRequestHandler):
    """Answers as a DICOMweb server does, with what it was asked in a header."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web/nothing"):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps(STUDIES).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("X-Asked", f"{self.path} {self.headers['Accept']} {self.headers['Host']}")
        if "/frames/" in self.path:  # no length: chunks
            body = gzip.compress(b"pixels")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def pacs_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pacs)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    """A viewer of two files, beside something that is none of its business."""
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "index.html").write_text("the application")
    (folder / "app.js").write_text("code")
    return folder


@pytest.fixture
def viewer(distribution: Path, pacs_port: int) -> Iterator[ViewerServer]:
    server = ViewerServer(distribution, pacs_port)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("path", "text"),
    [("", "the application"), ("app.js", "code"), ("viewer?StudyInstanceUIDs=1.2.3", "the application")],
)
def test_files_and_routes_of_the_application(viewer: ViewerServer, path: str, text: str) -> None:
    answer = httpx.get(viewer.address + path)
    assert (answer.status_code, answer.text) == (200, text)
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize("path", ["../secret", "%2e%2e/secret", "..%2fsecret"])
def test_files_beside_the_viewer_stay_where_they_are(viewer: ViewerServer, path: str) -> None:
    assert "secret" not in httpx.get(viewer.address + path).text


def test_the_configuration_asks_the_same_origin_only(viewer: ViewerServer) -> None:
    text = httpx.get(viewer.address + "app-config.js").text
    configuration = json.loads(text.removeprefix("window.config = ").removesuffix(";"))
    source = configuration["dataSources"][0]["configuration"]
    assert [source[name] for name in ("qidoRoot", "wadoRoot", "wadoUriRoot")] == [
        "/dicom-web",
        "/dicom-web",
        "/wado",
    ]


def test_the_pacs_is_asked_what_the_browser_asks(viewer: ViewerServer) -> None:
    answer = httpx.get(
        viewer.address + "dicom-web/studies?limit=1", headers={"Accept": "application/dicom+json"}
    )
    host = viewer.address.split("/")[2]
    assert answer.headers["X-Asked"] == f"/dicom-web/studies?limit=1 application/dicom+json {host}"
    assert (answer.headers["Content-Type"], answer.json()) == ("application/dicom+json", STUDIES)
    assert httpx.post(viewer.address + "dicom-web/studies", content=b"abc").content == b"cba"
    assert httpx.get(viewer.address + "dicom-web/nothing").status_code == 404
    chunked = httpx.get(viewer.address + "dicom-web/studies/1/frames/1")
    assert gzip.decompress(chunked.content) == b"pixels"


def test_only_the_pacs_takes_posts(viewer: ViewerServer) -> None:
    assert httpx.post(viewer.address + "app.js", content=b"").status_code == 405


def test_who_calls_it_by_another_name_is_not_answered(viewer: ViewerServer) -> None:
    """A page of somebody else whose name points to this machine."""
    address = viewer.address + "dicom-web/studies"
    assert httpx.get(address, headers={"Host": "evil.example:80"}).status_code == 421
    assert httpx.get(address, headers={"Host": "localhost:8000"}).status_code == 200


def test_a_pacs_that_is_gone_is_a_bad_gateway(distribution: Path) -> None:
    server = ViewerServer(distribution, free_port())
    server.start()
    assert httpx.get(server.address + "dicom-web/studies").status_code == 502
    server.stop()


def test_the_address_opens_the_study(viewer: ViewerServer) -> None:
    assert viewer.study_address("1.2.3") == f"{viewer.address}viewer?StudyInstanceUIDs=1.2.3"
