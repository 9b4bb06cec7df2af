"""KubeRay's own schema of a RayCluster, fetched once: `make test` does so where there is a network."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

VERSION = "v1.4.2"
FOLDER = f"https://raw.githubusercontent.com/ray-project/kuberay/{VERSION}/helm-chart/kuberay-operator/crds"
ADDRESS = f"{FOLDER}/ray.io_rayclusters.yaml"


def schema_file() -> Path:
    """Where it is kept (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dicomnode" / f"kuberay-{VERSION}-rayclusters.yaml"


def fetch() -> None:
    """Keep it, unless it is there."""
    path = schema_file()
    if path.is_file():
        return
    with urllib.request.urlopen(ADDRESS, timeout=20) as answer:
        content = answer.read()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(path)


if __name__ == "__main__":
    try:
        fetch()
    except OSError as error:
        sys.exit(f"{ADDRESS} can't be fetched: {error}")
