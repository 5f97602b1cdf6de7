"""Makes the secrets of a new installation as files: `python -m infra.compose.secrets FOLDER`.

What is there already stays. Files of one's own, with the same names, do as well.
"""

import secrets
import sys
from pathlib import Path

#: Base64 of so many random bytes: 288 bits.
STRENGTH = 36
#: These are typed by people: 96 bits.
TYPED = ("admin_password", "grafana_password")


def main() -> int:
    """Write what is missing; returns the exit code."""
    if len(sys.argv) != 2:
        print("Expected one folder", file=sys.stderr)  # noqa: T201
        return 2
    made = complete(Path(sys.argv[1]))
    print(f"Made {', '.join(made)}" if made else "All secrets are there")  # noqa: T201
    return 0


def complete(folder: Path) -> list[str]:
    """Write the secrets that a folder lacks; returns their names."""
    made = [
        name
        for name in (
            "database_password",
            "redis_password",
            "secret_key",
            "admin_password",
            "grafana_password",
            "s3_password",
        )
        if _keep(folder / name, secrets.token_urlsafe(12 if name in TYPED else STRENGTH))
    ]
    database, redis, s3 = (
        (folder / f"{name}_password").read_text() for name in ("database", "redis", "s3")
    )
    addresses = {
        # Rayon's keys begin like this (`gateway.api_keys`).
        "alertmanager_key": f"rayon_{secrets.token_urlsafe(STRENGTH)}",
        "database_url": f"postgresql+psycopg://rayon:{database}@postgres/rayon?client_encoding=utf8",
        "mlflow_database_url": f"postgresql+psycopg://rayon:{database}@postgres/mlflow?client_encoding=utf8",
        "broker_url": f"redis://:{redis}@redis:6379/0",
        "redis.conf": f"requirepass {redis}\n",
        # Of the object store's own account; for a bucket elsewhere, put its keys into the second.
        "s3_root": f"ROOT_ACCESS_KEY=rayon\nROOT_SECRET_KEY={s3}\n",
        "s3_credentials": f"[default]\naws_access_key_id=rayon\naws_secret_access_key={s3}\n",
    }
    return made + [name for name, text in addresses.items() if _keep(folder / name, text)]


def _keep(path: Path, text: str) -> bool:
    """Write a file unless there is one; whoever mounts the folder reads it."""
    if path.exists():
        return False
    path.write_text(text)
    path.chmod(0o444)
    return True


if __name__ == "__main__":
    sys.exit(main())
