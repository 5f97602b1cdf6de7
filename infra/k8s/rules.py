"""Rules for manifests beyond the schemas of the Kubernetes API."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Manifest = Mapping[str, Any]

WORKLOADS = ("Deployment", "Job")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def complaints(objects: Sequence[Manifest]) -> list[str]:
    """List the violations in a set of objects that are applied together."""
    return [
        *(line for one in objects for line in _of_one(one)),
        *_missing_selectors(objects),
        *_unscaled(objects),
        *_open_network(objects),
    ]


def pod_of(workload: Manifest) -> Manifest:
    """Return the pod template of a workload."""
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def containers_of(workload: Manifest) -> list[Manifest]:
    """Return all containers of a workload, including init containers."""
    pod = pod_of(workload)
    return [*pod.get("initContainers", ()), *pod["containers"]]


def _of_one(one: Manifest) -> Iterator[str]:
    name = f"{one['kind']} {one['metadata']['name']}"
    if one["kind"] == "Secret":
        yield f"{name}: secrets are named here, and never written"
    if one["kind"] in WORKLOADS:
        yield from (f"{name}: {line}" for line in _of_pod(pod_of(one)))
        lasting = pod_of(one)["containers"] if one["kind"] == "Deployment" else ()
        for container in containers_of(one):
            lines = _of_container(container, is_service=container in lasting)
            yield from (f"{name}, container {container['name']}: {line}" for line in lines)


def _of_pod(pod: Manifest) -> Iterator[str]:
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "expected a user that is not root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "expected the seccomp profile RuntimeDefault"
    if pod.get("automountServiceAccountToken") is not False:
        yield "expected no token of Kubernetes"
    # A service named `rayon-gateway` would set RAYON_GATEWAY_PORT to `tcp://…`.
    if pod.get("enableServiceLinks") is not False:
        yield "expected no variables named after services"
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield "expected nothing of the node's"


def _of_container(container: Manifest, *, is_service: bool) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "expected that it cannot gain rights"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "expected a read-only root file system"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "expected that all capabilities are dropped"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
        yield "expected a request of processor and memory"
    if "memory" not in resources.get("limits", {}):
        yield "expected a limit of memory"
    if is_service:
        yield from (f"expected a {probe}" for probe in PROBES if probe not in container)


def _missing_selectors(objects: Sequence[Manifest]) -> Iterator[str]:
    """Check that services, budgets and deployments select existing pods."""
    pods = [
        one["spec"]["template"]["metadata"]["labels"] for one in objects if one["kind"] in WORKLOADS
    ]
    for one in objects:
        if one["kind"] not in ("Service", "PodDisruptionBudget", "Deployment"):
            continue
        selector = one["spec"]["selector"]
        wanted = selector.get("matchLabels", selector)
        if not any(wanted.items() <= labels.items() for labels in pods):
            yield f"{one['kind']} {one['metadata']['name']}: selects no pod: {wanted}"


def _unscaled(objects: Sequence[Manifest]) -> Iterator[str]:
    """Check that a scaler has its target and is the only one to set the replicas."""
    deployments = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Deployment"}
    for one in objects:
        if one["kind"] not in ("ScaledObject", "HorizontalPodAutoscaler"):
            continue
        target = one["spec"]["scaleTargetRef"]["name"]
        if target not in deployments:
            yield f"{one['kind']} {one['metadata']['name']}: no deployment {target}"
        elif "replicas" in deployments[target]["spec"]:
            yield f"Deployment {target}: sets `replicas`, which its autoscaler sets too"


def _open_network(objects: Sequence[Manifest]) -> Iterator[str]:
    """Require a deny-all policy, without which the other policies limit nothing."""
    is_closed = any(
        one["kind"] == "NetworkPolicy"
        and one["spec"]["podSelector"] == {}
        and set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not one["spec"].get("ingress")
        and not one["spec"].get("egress")
        for one in objects
    )
    if not is_closed:
        yield "expected a NetworkPolicy that allows nothing by default"
