"""Rules for manifests."""

from copy import deepcopy
from typing import Any

import pytest

from infra.k8s.rules import complaints

PROBE = {"httpGet": {"path": "/livez", "port": 8000}}
CONTAINER = {
    "name": "rayon",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    "startupProbe": PROBE,
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
}
DEPLOYMENT: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "gateway"},
    "spec": {
        "selector": {"matchLabels": {"app": "gateway"}},
        "template": {
            "metadata": {"labels": {"app": "gateway"}},
            "spec": {
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 10001,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "containers": [CONTAINER],
            },
        },
    },
}
CLOSED: dict[str, Any] = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "nothing-else"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}
SCALER: dict[str, Any] = {
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "gateway"},
    "spec": {"scaleTargetRef": {"name": "gateway"}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The deployment with something else at a path such as `spec.template`."""
    found = deepcopy(DEPLOYMENT)
    *parents, last = path.split(".")
    at: Any = found
    for name in parents:
        at = at[int(name)] if name.isdecimal() else at[name]
    at[last] = value
    return found


def test_valid_objects_have_no_violations() -> None:
    assert complaints([DEPLOYMENT, CLOSED, SCALER]) == []


POD, FIRST = "spec.template.spec", "spec.template.spec.containers.0"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (f"{POD}.securityContext.runAsNonRoot", False, "a user that is not root"),
        (f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, "seccomp"),
        (f"{POD}.automountServiceAccountToken", True, "no token"),
        (f"{POD}.enableServiceLinks", True, "no variables named after services"),
        (f"{POD}.hostNetwork", True, "nothing of the node's"),
        (f"{FIRST}.securityContext.allowPrivilegeEscalation", True, "cannot gain rights"),
        (f"{FIRST}.securityContext.readOnlyRootFilesystem", False, "read-only root"),
        (f"{FIRST}.securityContext.capabilities", {}, "all capabilities are dropped"),
        (f"{FIRST}.resources.requests", {"cpu": "1"}, "a request of processor and memory"),
        (f"{FIRST}.resources.limits", {}, "a limit of memory"),
        (f"{FIRST}.livenessProbe", None, ""),
        ("spec.selector.matchLabels", {"app": "another"}, "selects no pod"),
        ("spec.replicas", 3, "sets `replicas`, which its autoscaler sets too"),
    ],
)
def test_fault_is_found(path: str, value: object, complaint: str) -> None:
    wrong = changed(path, value)
    if value is None:
        del wrong["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
        complaint = "expected a livenessProbe"
    (line,) = complaints([wrong, CLOSED, SCALER])
    assert complaint in line


def test_written_secret_is_found() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "rayon-gateway"}}
    assert "never written" in complaints([DEPLOYMENT, CLOSED, secret])[0]


def test_namespace_without_a_deny_all_policy_is_found() -> None:
    open_ = deepcopy(CLOSED)
    open_["spec"]["egress"] = [{}]
    assert "allows nothing by default" in complaints([DEPLOYMENT, open_])[0]


def test_scaler_without_its_deployment_is_found() -> None:
    assert "no deployment gateway" in complaints([CLOSED, SCALER])[0]


def test_init_container_needs_no_probe_but_obeys_the_other_rules() -> None:
    first = {name: CONTAINER[name] for name in ("securityContext", "resources")}
    stepped = changed(f"{POD}.initContainers", [first | {"name": "tables"}])
    assert complaints([stepped, CLOSED, SCALER]) == []
    open_ = changed(f"{POD}.initContainers", [{"name": "tables"}])
    found = complaints([open_, CLOSED, SCALER])
    assert found
    assert all("container tables: " in line for line in found)
