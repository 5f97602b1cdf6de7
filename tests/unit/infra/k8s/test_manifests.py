"""The manifests fit the code: same commands, known settings, known queues, no secrets."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from gateway.bootstrap import AdminSettings
from gateway.identity.service_keys import AlertmanagerSettings
from infra.k8s.rules import containers_of, pod_of
from shared.contracts import STATIONS, Lane, all_queues, queue_name
from tests.support.settings_groups import settings_groups

PROJECT = Path(__file__).parents[4]
K8S = PROJECT / "infra" / "k8s"
#: Servers that pod labels allow access to, with the secrets used only there.
SECRETS_OF = {
    "database": {"rayon-database", "rayon-registry"},
    "queue": {"rayon-broker"},
    "registry": {"rayon-releases"},
    "storage": {"rayon-storage"},
}
#: Empty unless somebody sets it; each pod has processor time of its own; its /tmp is a disk.
NOT_IN_A_CLUSTER = {"RAYON_TRACING_ENDPOINT", "RAYON_WORKER_NICENESS", "TMPDIR"}
#: Services of Compose that are the steps of the job `prepare`.
STEPS = {"migrate", "account", "release"}
#: They read and write no images; in Compose all services are told the same of the storage.
WITHOUT_STORAGE = {
    *STEPS,
    *(f"worker-{m}{lane}" for m in ("text", "fusion") for lane in ("", "-catalog")),
}


def documents(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.yaml")):
        yield from documents_of(path)


def documents_of(path: Path) -> list[dict[str, Any]]:
    return list(yaml.load_all(path.read_text(), yaml.CSafeLoader))


def of_kind(kind: str, folder: str = "base") -> dict[str, dict[str, Any]]:
    return {
        one["metadata"]["name"]: one
        for one in documents(K8S / folder)
        # A patch of all of a kind says no name.
        if one.get("kind") == kind and one["metadata"]["name"] != "any"
    }


def compose() -> dict[str, dict[str, Any]]:
    """Services of Compose that run an image of ours, but those that make secrets and a bucket."""
    services = yaml.load((PROJECT / "docker-compose.yml").read_text(), yaml.CSafeLoader)["services"]
    return {
        name: service
        for name, service in services.items()
        if str(service["image"]).startswith("rayon/") and name not in ("init", "bucket")
    }


def plain(environment: list[dict[str, str]]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in environment}


def container(name: str) -> dict[str, Any]:
    """The container that does what a service of Compose does."""
    if name in STEPS:
        first, second, last = containers_of(of_kind("Job")["prepare"])
        return dict({"migrate": first, "account": second, "release": last}[name])
    (found,) = pod_of(of_kind("Deployment")[name])["containers"]
    return dict(found)


@pytest.mark.parametrize("name", compose())
def test_service_of_compose_runs_in_the_cluster_by_the_same_command(name: str) -> None:
    service, found = compose()[name], container(name)
    assert found["image"] == str(service["image"]).partition(":")[0]
    assert found.get("command") == service.get("command")


@pytest.mark.parametrize("name", sorted(set(compose()) - STEPS - {"trainer"}))
def test_memory_limit_is_that_of_compose(name: str) -> None:
    expected = str(compose()[name]["mem_limit"]).replace("g", "Gi")
    assert container(name)["resources"]["limits"]["memory"] == expected


@pytest.mark.parametrize("name", [name for name in compose() if name.startswith("worker-")])
def test_worker_has_the_lane_of_compose(name: str) -> None:
    lanes = compose()[name]["environment"]["RAYON_WORKER_LANES"]
    assert plain(container(name)["env"])["RAYON_WORKER_LANES"] == lanes


def shared_settings(folder: str = "base") -> dict[str, str]:
    """Return the environment of all pods."""
    said = yaml.safe_load((K8S / folder / "kustomization.yaml").read_text())
    (found,) = (one for one in said["configMapGenerator"] if one["name"] == "rayon")
    return dict(line.split("=", 1) for line in found["literals"])


@pytest.mark.parametrize("name", compose())
def test_service_has_the_environment_of_its_compose_service(name: str) -> None:
    told = {one for one in compose()[name].get("environment", {}) if one not in NOT_IN_A_CLUSTER}
    if name in WITHOUT_STORAGE:
        told -= {"AWS_SHARED_CREDENTIALS_FILE"}
    # Which object store it is, an overlay says.
    shared = shared_settings() | shared_settings("overlays/test")
    assert told - plain(container(name)["env"]).keys() - shared.keys() == set()


def known_variables() -> set[str]:
    groups: set[type[BaseSettings]] = {*settings_groups(), AdminSettings, AlertmanagerSettings}
    names = {
        f"{group.model_config.get('env_prefix', '')}{field}".upper()
        for group in groups
        for field in group.model_fields
    }
    return names | {f"{name}_FILE" for name in names}


def test_every_variable_is_a_setting() -> None:
    used = {
        name
        for path in K8S.rglob("*.yaml")
        for name in re.findall(r"RAYON_[A-Z_]+[A-Z]", uncommented(path))
    }
    assert "RAYON_DATABASE_URL_FILE" in used
    assert used - known_variables() == set()


def uncommented(path: Path) -> str:
    return "\n".join(line.partition("# ")[0] for line in path.read_text().splitlines())


def test_every_lane_has_a_scaler_that_counts_waiting_and_running() -> None:
    scaled = of_kind("ScaledObject", "components/keda")
    for station in STATIONS:
        for lane in Lane:
            name = f"worker-{station}" + ("-catalog" if lane is Lane.CATALOG else "")
            trigger = scaled[name]["spec"]["triggers"][0]["metadata"]
            assert f'queue="{queue_name(station, lane)}"' in trigger["query"]
            assert 'state=~"waiting|running"' in trigger["query"]


def test_scalers_query_existing_queues() -> None:
    queries = (K8S / "components" / "keda" / "scaled-objects.yaml").read_text()
    asked = set(re.findall(r'queue="([^"]+)"', queries))
    assert asked
    assert asked <= set(all_queues())


def test_catalog_workers_never_scale_to_none() -> None:
    # The feeder feeds as many rows as there are workers for, and would wait for the first one.
    for one in of_kind("ScaledObject", "components/keda").values():
        assert one["spec"]["minReplicaCount"] >= 1


def test_both_ways_to_scale_have_the_same_targets_and_limits() -> None:
    def limits(kind: str, folder: str, low: str, high: str) -> dict[str, tuple[int, int]]:
        return {
            name: (one["spec"][low], one["spec"][high])
            for name, one in of_kind(kind, folder).items()
        }

    keda = limits("ScaledObject", "components/keda", "minReplicaCount", "maxReplicaCount")
    plain_ones = limits("HorizontalPodAutoscaler", "components/hpa", "minReplicas", "maxReplicas")
    assert keda == plain_ones


def secrets_of(workload: dict[str, Any]) -> set[str]:
    volumes = {one["name"]: one for one in pod_of(workload)["volumes"]}
    return {one["secret"]["name"] for one in volumes["secrets"]["projected"]["sources"]}


@pytest.mark.parametrize("name", of_kind("Deployment"))
def test_pod_reaches_what_it_has_secrets_for(name: str) -> None:
    workload = of_kind("Deployment")[name]
    labels = workload["spec"]["template"]["metadata"]["labels"]
    for use, secrets in SECRETS_OF.items():
        if (name, use) == ("mlflow", "registry"):
            continue  # it is the registry
        assert (labels.get(f"uses-{use}") == "true") == bool(secrets & secrets_of(workload)), use


@pytest.mark.parametrize("name", of_kind("Deployment"))
def test_pod_has_a_variable_for_each_secret_file(name: str) -> None:
    workload = of_kind("Deployment")[name]
    files = {
        Path(one["value"]).name for one in container(name)["env"] if "/run/rayon/" in one["value"]
    }
    documented = dict(re.findall(r"^\| `(rayon-\w+)` \| `(\w+)`", readme(), flags=re.MULTILINE))
    assert files == {documented[secret] for secret in secrets_of(workload)}


@pytest.mark.parametrize("name", of_kind("Deployment"))
def test_pod_with_the_database_waits_for_the_migration(name: str) -> None:
    workload = of_kind("Deployment")[name]
    first = pod_of(workload).get("initContainers", [])
    if "rayon-database" not in secrets_of(workload):
        assert first == []
        return
    # The patch adds the rest, and only for the names that it knows.
    assert first == [{"name": "tables", "image": container(name)["image"]}]
    said = yaml.safe_load((K8S / "base" / "kustomization.yaml").read_text())["patches"]
    (target,) = (one["target"] for one in said if one["path"] == "patches/tables.yaml")
    assert re.fullmatch(target["name"], name)
    (patch,) = pod_of(*documents_of(K8S / "base" / "patches" / "tables.yaml"))["initContainers"]
    assert find_spec(patch["command"][-1]) is not None


def readme() -> str:
    return (K8S / "README.md").read_text()


def test_secret_that_is_deleted_later_is_optional() -> None:
    to_delete = re.findall(r"^\| `(rayon-\w+)` .*\bdelete it", readme(), flags=re.MULTILINE)
    assert to_delete == ["rayon-admin"]
    sources = {
        one["secret"]["name"]: one["secret"]
        for volume in pod_of(of_kind("Job")["prepare"])["volumes"]
        for one in volume["projected"]["sources"]
    }
    assert {name for name, one in sources.items() if one.get("optional")} == set(to_delete)


def test_every_secret_is_documented() -> None:
    used = {
        name
        for path in [*(K8S / "base").rglob("*.yaml"), *(K8S / "overlays").rglob("*.yaml")]
        for name in re.findall(r"secret(?:Name)?: (?:\{name: )?(rayon-[a-z-]+)", path.read_text())
    }
    assert "rayon-database" in used
    for name in used:
        assert f"`{name}`" in readme(), name


def test_no_secret_is_written_down() -> None:
    for path in K8S.rglob("*.yaml"):
        text = path.read_text()
        assert not re.search(r"^kind: Secret$", text, flags=re.MULTILINE), path
        assert not re.search(r"://[^/\s]*:[^/\s]+@", text), path
        for one in re.findall(r"name: (\w*(?:PASSWORD|SECRET|KEY|TOKEN)\w*), value", text):
            assert one.endswith("_FILE"), f"{path}: {one}"


def health_check(image: str) -> list[str]:
    """The command by which an image says whether it is well."""
    folder = image.removeprefix("rayon/").replace("mlflow", "infra/mlflow")
    found = re.search(
        r"HEALTHCHECK .*\\\n +CMD (\[.+\])", (PROJECT / folder / "Dockerfile").read_text()
    )
    assert found is not None
    return list(yaml.safe_load(found[1]))


@pytest.mark.parametrize("name", of_kind("Deployment"))
def test_workload_has_the_health_check_of_its_image(name: str) -> None:
    found = container(name)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if (name, probe) in (("scheduler", "livenessProbe"), ("feeder", "livenessProbe")):
            # Their figures are told also while they hang.
            compose_check = compose()[name]["healthcheck"]["test"]
            assert found[probe]["exec"]["command"] == compose_check[1:]
        elif name in ("gateway", "scheduler", "feeder", "mlflow"):
            assert found[probe]["httpGet"]["port"] in ("http", "metrics")
        else:
            assert found[probe]["exec"]["command"] == health_check(found["image"])
