"""The manifests that ship are what Kubernetes and KubeRay take, and fit together and to the node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from dicomnode.config import load_config
from tests.conftest import REPOSITORY
from tests.kuberay import schema_file

FOLDER = REPOSITORY / "config" / "kubernetes"
KUBERNETES = "1.33"

GROUP = {
    "type": "object",
    "required": ["template", "rayStartParams"],
    "additionalProperties": False,
    "properties": {
        "rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}},
        "template": {"type": "object", "required": ["spec"]},
    },
}
HEAD = deepcopy(GROUP)
HEAD["properties"] |= {"serviceType": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}}  # type: ignore[operator]
WORKERS = deepcopy(GROUP)
WORKERS["required"] = ["template", "rayStartParams", "groupName"]
WORKERS["properties"] |= {  # type: ignore[operator]
    "groupName": {"type": "string"},
    **{name: {"type": "integer", "minimum": 0} for name in ("replicas", "minReplicas", "maxReplicas")},
}
RAY_CLUSTER = {
    "type": "object",
    "required": ["headGroupSpec"],
    "additionalProperties": False,
    "properties": {
        "rayVersion": {"type": "string"},
        "enableInTreeAutoscaling": {"type": "boolean"},
        "autoscalerOptions": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"idleTimeoutSeconds": {"type": "integer"}},
        },
        "headGroupSpec": HEAD,
        "workerGroupSpecs": {"type": "array", "items": WORKERS},
    },
}
"""The part of a RayCluster that is used here; the whole is KubeRay's own."""


def objects() -> list[dict[str, Any]]:
    return [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]


def only(kind: str) -> dict[str, Any]:
    (found,) = [one for one in objects() if one["kind"] == kind]
    return found


def groups(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield spec["headGroupSpec"]
    yield from spec["workerGroupSpecs"]


def test_objects_of_kubernetes_are_valid_and_have_no_unknown_key() -> None:
    own = [one for one in objects() if one["kind"] != "RayCluster"]
    assert {one["kind"] for one in own} == {"ConfigMap", "Service", "StatefulSet", "NetworkPolicy"}
    for one in own:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
        one["spec" if "spec" in one else "data"]["unknwon"] = {}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_the_ray_cluster_and_its_pods_are_valid() -> None:
    spec = only("RayCluster")["spec"]
    jsonschema.validate(spec, RAY_CLUSTER)
    for group in groups(spec):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_ray_cluster_is_valid_by_kuberays_own_schema() -> None:
    path = schema_file()
    if not path.is_file():
        pytest.skip("KubeRay's schema was not fetched: python -m tests.kuberay does it, with a network")
    versions = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["versions"]
    (schema,) = [one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1"]
    jsonschema.validate(only("RayCluster"), closed(schema))


def closed(schema: Any) -> Any:
    """A schema as the API server prunes by it: what it doesn't name isn't there."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    open_ones = {
        "additionalProperties",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
    }
    if isinstance(schema.get("properties"), dict) and not open_ones & schema.keys():
        inner["additionalProperties"] = False
    return inner


def test_they_fit_together(tmp_path: Path) -> None:
    cluster, node = only("RayCluster"), only("StatefulSet")["spec"]["template"]
    path = tmp_path / "dicomnode.toml"
    path.write_text(only("ConfigMap")["data"]["dicomnode.toml"], encoding="utf-8")
    config = load_config(path)
    assert config.analysis.cluster == f"ray://{cluster['metadata']['name']}-head-svc:10001"
    (container,) = node["spec"]["containers"]
    assert config.node.port in [port["containerPort"] for port in container["ports"]]
    assert str(config.spool.directory) in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert f"127.0.0.1:{config.web.port}/healthz" in str(container["livenessProbe"])
    assert only("Service")["spec"]["selector"].items() <= node["metadata"]["labels"].items()
    (workers,) = cluster["spec"]["workerGroupSpecs"]
    assert workers["maxReplicas"] >= config.analysis.workers
    (worker,) = workers["template"]["spec"]["containers"]
    assert float(worker["resources"]["requests"]["cpu"]) >= config.analysis.cluster_cpus
    pinned = re.search(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None and cluster["spec"]["rayVersion"] == pinned[1]
    allowed = only("NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert {"podSelector": {"matchLabels": node["metadata"]["labels"]}} in allowed
