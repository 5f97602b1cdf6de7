"""Compose file: what a container can do to the others. Nothing is started."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.bench.attacks.figure import Figure
from tests.bench.attacks.target import Target

#: Services without a database.
WORKERS = ("worker-text", "worker-text-catalog", "worker-image", "worker-image-catalog")


def attacks(target: Target) -> list[Figure]:
    """Read the services of the checkout."""
    content = yaml.safe_load((target.checkout / "docker-compose.yml").read_text())
    services: dict[str, dict[str, Any]] = content["services"]
    powerful = sorted(name for name, one in services.items() if one.get("cap_drop") != ["ALL"])
    beside = [
        name for name in WORKERS if _networks(services[name]) & _networks(services["postgres"])
    ]
    return [
        Figure(
            "11",
            "containers that keep Linux capabilities",
            len(powerful),
            f"of {len(services)}",
            0,
            "test_every_container_drops_all_capabilities",
            ", ".join(powerful),
        ),
        Figure(
            "11",
            "text and image workers on a network of the database",
            len(beside),
            f"of {len(WORKERS)}",
            0,
            "test_text_and_image_workers_do_not_reach_the_database",
        ),
        Figure(
            "11",
            "MLflow signs in to the database as its owner",
            float(_is_owner(target.checkout)),
            "owners",
            0,
            "test_mlflow_has_its_own_role_and_database",
        ),
    ]


def _networks(service: dict[str, Any]) -> set[str]:
    return set(service.get("networks") or ["default"])


def _is_owner(checkout: Path) -> bool:
    """Return True if the address of MLflow's database names the role that owns Rayon's tables."""
    secrets = (checkout / "infra" / "compose" / "secrets.py").read_text()
    return re.search(r"//rayon:[^@]*@postgres/mlflow", secrets) is not None
