"""Pages for programs that watch the node."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from dicomnode.web.messages import Response
from dicomnode.web.metrics import CONTENT_TYPE
from dicomnode.web.site import Call, Route


def health_routes(
    exposition: Callable[[], str], alive: Callable[[], bool], readiness: Callable[[], dict[str, bool]]
) -> list[Route]:
    """``/metrics``, ``/healthz`` and ``/readyz``."""

    def metrics(_call: Call) -> Response:
        return Response.text(exposition(), content_type=CONTENT_TYPE)

    def health(_call: Call) -> Response:
        return _report({"alive": alive()})

    def ready(_call: Call) -> Response:
        return _report(readiness())

    return [
        Route("GET", "/metrics", metrics),
        Route("GET", "/healthz", health),
        Route("GET", "/readyz", ready),
    ]


def _report(checks: dict[str, bool]) -> Response:
    lines = [f"{'ok' if good else 'NOT'} {name}" for name, good in checks.items()]
    status = HTTPStatus.OK if all(checks.values()) else HTTPStatus.SERVICE_UNAVAILABLE
    return Response.text("\n".join(lines) + "\n", status)
