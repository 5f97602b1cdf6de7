"""Build the overlays and check them without a cluster: `make manifests`.

kubectl's own kustomize builds them. Kubernetes' objects are checked against the API's JSON schemas,
strictly: an unknown field is an error. KEDA's are read as the models made from its definitions, and
written again: what is then missing was an unknown field.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from pydantic import ValidationError

from infra.k8s.rules import Manifest, complaints

OVERLAYS = Path(__file__).parent / "overlays"
#: Oldest supported release (it has `matchLabelKeys`), and the newest.
VERSIONS = ("1.27.0", "1.37.0")


def main() -> int:
    """Build and check every overlay and return the exit code."""
    wrong = 0
    for folder in sorted(OVERLAYS.iterdir()):
        objects = build(folder)
        found = [*(line for one in objects for line in invalid(one)), *complaints(objects)]
        for line in found:
            print(f"{folder.name}: {line}", file=sys.stderr)  # noqa: T201
        versions = " and ".join(VERSIONS)
        print(f"{folder.name}: {len(objects)} objects, Kubernetes {versions}: {_told(found)}")  # noqa: T201
        wrong += len(found)
    return 1 if wrong else 0


def build(folder: Path) -> list[Manifest]:
    """Build an overlay as `kubectl apply -k` would."""
    kubectl = Path(sys.executable).with_name("kubectl")
    built = subprocess.run(
        [kubectl, "kustomize", folder], check=True, stdout=subprocess.PIPE, text=True
    )
    return list(yaml.safe_load_all(built.stdout))


def invalid(one: Manifest) -> Iterator[str]:
    """List the violations of an object's schema."""
    name = f"{one['kind']} {one['metadata']['name']}"
    if one["apiVersion"].startswith("keda.sh/"):
        yield from (f"{name}: {line}" for line in _invalid_for_keda(one))
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{name}, {version}: {error}"


def _invalid_for_keda(one: Manifest) -> Iterator[str]:
    if one["kind"] != ScaledObject.__name__:
        yield f"expected one of KEDA's ScaledObject. Received: {one['kind']}"
        return
    try:
        read = ScaledObject.model_validate(one)
    except ValidationError as error:
        yield str(error)
        return
    known = read.model_dump(by_alias=True, exclude_none=True)
    yield from (f"unknown field {path}" for path in _lost(one, known))


def _lost(given: Any, known: Any, path: str = "") -> Iterator[str]:
    """List the paths of unknown fields."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            if not isinstance(known, Mapping) or key not in known:
                yield f"{path}.{key}"
            else:
                yield from _lost(value, known[key], f"{path}.{key}")
    elif isinstance(given, Sequence) and not isinstance(given, str):
        for number, (value, other) in enumerate(zip(given, known, strict=True)):
            yield from _lost(value, other, f"{path}[{number}]")


def _told(found: list[str]) -> str:
    return f"{len(found)} wrong" if found else "all valid"


if __name__ == "__main__":
    sys.exit(main())
