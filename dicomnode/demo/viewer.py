"""Serves the OHIF viewer and a PACS's DICOMweb on one origin of loopback, as the browser wants it."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROXIED = ("/dicom-web/", "/wado")
PROXY_SECONDS = 120.0
PASSED_ON = ("Accept", "Content-Type", "Host")
"""Host, since Orthanc builds the addresses of bulk data from it."""

OWN_NAMES = ("127.0.0.1", "localhost")
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}

CONFIGURATION: dict[str, Any] = {
    "routerBasename": "/",
    "showStudyList": True,
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "pacs",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "pacs",
            "configuration": {
                "friendlyName": "PACS",
                "name": "pacs",
                "wadoUriRoot": "/wado",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "supportsReject": False,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True},
                "singlepart": "bulkdata,video",
            },
        }
    ],
}


class ViewerServer:
    """OHIF on ``http://127.0.0.1:port`` in front of a PACS with DICOMweb.

    Parameters
    ----------
    distribution:
        Folder with OHIF's ``index.html``.
    pacs_http_port:
        Port on loopback where the PACS serves ``/dicom-web`` and ``/wado``.
    port:
        Where to listen; 0 for a free one.
    """

    def __init__(self, distribution: Path, pacs_http_port: int, port: int = 0) -> None:
        class Handler(_Handler):
            root = distribution
            pacs_port = pacs_http_port

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="viewer", daemon=True)

    @property
    def address(self) -> str:
        """Address of the list of studies."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def study_address(self, study_instance_uid: str) -> str:
        """Address that opens a study."""
        return f"{self.address}viewer?StudyInstanceUIDs={study_instance_uid}"

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop and close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(SimpleHTTPRequestHandler):
    """Files of the distribution, its configuration, and what is the PACS's to answer."""

    root: Path
    pacs_port: int
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, directory=str(self.root), **keywords)

    def parse_request(self) -> bool:
        """Answer only what was asked of this machine by name.

        Else a page of somebody else, whose name is made to point here, could read the studies.
        """
        if not super().parse_request():
            return False
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname in OWN_NAMES:
            return True
        self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        return False

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith(PROXIED):
            self._ask_the_pacs()
        elif path == "/app-config.js":
            self._answer(f"window.config = {json.dumps(CONFIGURATION)};".encode(), "text/javascript")
        else:
            if not Path(self.translate_path(path)).is_file():
                self.path = "/index.html"  # a route of the application
            super().do_GET()

    def do_POST(self) -> None:
        if urlsplit(self.path).path.startswith(PROXIED):
            self._ask_the_pacs()
        else:
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    def end_headers(self) -> None:
        # cross-origin isolation: without it the browser gives no SharedArrayBuffer for volumes
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Nothing: requests have UIDs of patients' studies in them."""

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _ask_the_pacs(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        pacs = http.client.HTTPConnection("127.0.0.1", self.pacs_port, timeout=PROXY_SECONDS)
        try:
            pacs.request(self.command, self.path, body, headers)
            answer = pacs.getresponse()
            self._pass_on(answer)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            self.send_error(HTTPStatus.BAD_GATEWAY, "the PACS does not answer")
        finally:
            pacs.close()

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if answer.length is None:  # no length told: the end of the connection is the end of the body
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(answer.length))
        self.end_headers()
        shutil.copyfileobj(answer, self.wfile)
