"""What `docker-compose.yml` promises without being started."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[3]
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
def test_what_handles_uploads_keeps_them_on_a_disk_meanwhile(name: str) -> None:
    folder = SERVICES[name]["environment"]["TMPDIR"]
    assert folder in mounted(name)


def test_folder_for_uploads_is_the_users_own_in_every_image() -> None:
    folder = SERVICES["gateway"]["environment"]["TMPDIR"]
    for name in ("gateway", "trainer", "worker_text", "worker_image", "worker_fusion"):
        made = (PROJECT / name / "Dockerfile").read_text().partition("install -d ")[2]
        assert folder in made.partition("\nCOPY")[0].split(), name


def test_memory_that_looks_like_a_disk_has_a_size() -> None:
    found = [mount for one in SERVICES.values() for mount in one.get("tmpfs", [])]
    assert found
    assert all("size=" in mount for mount in found)
    assert all(PurePosixPath(mount.partition(":")[0]).is_absolute() for mount in found)
