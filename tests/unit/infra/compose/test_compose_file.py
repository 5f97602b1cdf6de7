"""Properties of `docker-compose.yml` that need no running system."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from infra.compose.secrets import OPTIONAL, ROLES, complete

PROJECT = Path(__file__).parents[4]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())[
    "services"
]
#: Uploads pass through these: taken, copied from a bucket, or unpacked.
HANDLE_UPLOADS = ("gateway", "feeder", "trainer", "monitor", "scheduler", "mlflow")


def mounted(service: str) -> set[str]:
    """The folders of a service that are volumes, with a name or without."""
    mounts = SERVICES[service]["volumes"]
    return {str(one).split(":")[1] if ":" in str(one) else str(one) for one in mounts}


@pytest.mark.parametrize("name", HANDLE_UPLOADS)
def test_services_that_handle_uploads_buffer_them_on_disk(name: str) -> None:
    folder = SERVICES[name]["environment"]["TMPDIR"]
    assert folder in mounted(name)


def test_upload_folder_belongs_to_the_user_in_every_image() -> None:
    folder = SERVICES["gateway"]["environment"]["TMPDIR"]
    for name in ("gateway", "trainer", "worker_text", "worker_image", "worker_fusion"):
        made = (PROJECT / name / "Dockerfile").read_text().partition("install -d ")[2]
        assert folder in made.partition("\nCOPY")[0].split(), name


def test_every_tmpfs_has_a_size_limit() -> None:
    found = [mount for one in SERVICES.values() for mount in one.get("tmpfs", [])]
    assert found
    assert all("size=" in mount for mount in found)
    assert all(PurePosixPath(mount.partition(":")[0]).is_absolute() for mount in found)


def runs_to_its_end(service: dict[str, Any]) -> bool:
    """Return True if a service runs only once."""
    return service.get("restart", "no") in ("no", "on-failure")


@pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if runs_to_its_end(one)])
def test_every_one_shot_service_has_a_dependent_service(name: str) -> None:
    """Without that `docker compose up --wait` fails (docker/compose#10596)."""
    waiting = [
        one
        for one in SERVICES.values()
        if one.get("depends_on", {}).get(name, {}).get("condition")
        == "service_completed_successfully"
    ]
    assert waiting
    is_optional = "profiles" in SERVICES[name]
    for one in waiting:
        assert one["depends_on"][name].get("required", True) != is_optional


def test_replaced_container_leaves_no_volume_behind() -> None:
    roll = (PROJECT / "infra" / "compose" / "roll.sh").read_text()
    removals = re.findall(r"docker rm (.*?)\"", roll)
    assert len(removals) == 2
    assert all("v" in flags for flags in removals)


@pytest.mark.parametrize("name", ["scheduler", "feeder"])
def test_hanging_service_is_unhealthy(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][1:3] == ["sh", "/consumes.sh"]
    assert "RAYON_BROKER_BEAT_FILE=" in (PROJECT / "gateway" / "Dockerfile").read_text()


def role_of(service: str) -> str | None:
    """Whose secrets a service is shown; `None` if it has none."""
    mounts = [str(one) for one in SERVICES[service].get("volumes", []) if ":/run/rayon" in str(one)]
    assert len(mounts) <= 1
    return mounts[0].partition(":")[0].removeprefix("secrets-") if mounts else None


def files_of(service: str) -> set[str]:
    """The secrets that a service reads, by what it is told."""
    told = {key: one for key, one in SERVICES[service].items() if key != "volumes"}
    text = yaml.safe_dump(told, width=1_000_000)
    if service == "roles":
        text += (PROJECT / "infra/compose/roles.sql").read_text()
    if service == "alertmanager":
        text += (PROJECT / "infra/alertmanager/alertmanager.yml").read_text()
    return set(re.findall(r"/run/rayon/([\w.]+)", text))


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"init"}))
def test_service_has_the_secrets_that_it_reads(name: str) -> None:
    role = role_of(name)
    assert files_of(name) <= (set(ROLES[role]) if role else set())


def test_no_role_has_a_secret_that_none_of_its_services_reads() -> None:
    for role, names in ROLES.items():
        read = {file for name in SERVICES if role_of(name) == role for file in files_of(name)}
        assert set(names) == read, role


def test_only_the_init_service_mounts_all_secrets() -> None:
    everything = [
        name
        for name, one in SERVICES.items()
        if any(str(mount).startswith("${RAYON_SECRETS") for mount in one.get("volumes", []))
    ]
    assert everything == ["init"]


def test_every_role_has_its_volume_and_its_folder_in_the_image(tmp_path: Path) -> None:
    mounted_roles = {
        str(one).rpartition("/run/roles/")[2]
        for one in SERVICES["init"]["volumes"]
        if "/run/roles/" in str(one)
    }
    made = re.findall(r"/run/roles/(\w+)", (PROJECT / "gateway" / "Dockerfile").read_text())
    assert ROLES.keys() == mounted_roles == set(made)
    complete(tmp_path)
    needed = {name for names in ROLES.values() for name in names}
    assert needed - {one.name for one in tmp_path.iterdir()} == set(OPTIONAL)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_memory_limit(name: str) -> None:
    assert re.fullmatch(r"\d+[mg]|\$\{\w+:-\d+g\}", str(SERVICES[name].get("mem_limit")))


#: Scored without tables.
WITHOUT_DATABASE = ("worker-text", "worker-text-catalog", "worker-image", "worker-image-catalog")


def networks_of(name: str) -> set[str]:
    """The networks of a service; without a list it is on the one that all share."""
    if SERVICES[name].get("network_mode") == "none":
        return set()
    return set(SERVICES[name].get("networks", ["default"]))


def reach(name: str) -> set[str]:
    """The services to which a service can open a connection."""
    return {other for other in SERVICES if other != name and networks_of(other) & networks_of(name)}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_drops_all_capabilities(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    # None that reaches the kernel, other processes or the network's settings.
    files_and_users = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "NET_BIND_SERVICE"}
    assert set(service.get("cap_add", [])) <= files_and_users
    assert not service.get("privileged")


@pytest.mark.parametrize("name", WITHOUT_DATABASE)
def test_text_and_image_workers_do_not_reach_the_database(name: str) -> None:
    assert "postgres" not in reach(name)
    assert {"redis", "mlflow"} <= reach(name)


def test_text_workers_do_not_reach_the_storage() -> None:
    assert "objects" not in reach("worker-text") | reach("worker-text-catalog")


def test_only_services_with_the_address_of_a_server_reach_it() -> None:
    for server, file in (
        ("postgres", "database"),
        ("redis", "redis|broker_url"),
        ("mlflow", "registry_token"),
    ):
        pattern = re.compile(file)
        told = {
            name
            for name in SERVICES
            if any(pattern.search(one) for one in files_of(name)) and name != server
        }
        found = {name for name in SERVICES if server in reach(name)}
        servers = {"postgres", "redis", "mlflow", "objects"}
        assert told - servers == found - servers, server


def test_servers_have_no_way_out() -> None:
    declared = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["networks"]
    for server in ("postgres", "redis"):
        assert all(declared[network]["internal"] for network in networks_of(server))


def test_mlflow_has_its_own_role_and_database(tmp_path: Path) -> None:
    complete(tmp_path)
    address = (tmp_path / "mlflow_database_url").read_text()
    assert address.startswith("postgresql+psycopg://mlflow:")
    assert (tmp_path / "database_password").read_text() not in address
    assert networks_of("mlflow") & networks_of("postgres") == {"registry-database"}
    assert {n for n in SERVICES if "registry-database" in networks_of(n)} == {"mlflow", "postgres"}
    assert SERVICES["mlflow"]["depends_on"]["roles"] == {
        "condition": "service_completed_successfully"
    }
