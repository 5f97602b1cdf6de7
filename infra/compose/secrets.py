"""Generate the secrets of a new installation as files.

    python -m infra.compose.secrets FOLDER [ROLES]

What is there already stays. Files of one's own, with the same names, do as well. Each role has a
folder in ROLES, a volume of its own, with copies of what it needs, so that no service can read what
is for another; a secret that was changed is copied again.
"""

import os
import secrets
import sys
from pathlib import Path

from shared.files import atomic_write

#: Readable by every service that mounts the folder of its role, whatever its user.
READABLE = 0o444
#: Random bytes of a secret, written in Base64: 288 bits.
STRENGTH = 36
PASSWORDS = (
    "database_password",
    "mlflow_password",
    "registry_token",
    "redis_password",
    "secret_key",
    "admin_password",
    "grafana_password",
    "s3_password",
)
#: Random bytes of passwords that people type: 96 bits.
TYPED = ("admin_password", "grafana_password")
#: Secrets by role. `worker` scores texts or images and has no database.
ROLES = {
    "gateway": (
        "database_url", "broker_url", "registry_token", "s3_credentials", "secret_key",
        "admin_password", "alertmanager_key",
    ),
    "service": ("database_url", "broker_url", "registry_token", "s3_credentials"),
    "worker": ("broker_url", "registry_token", "s3_credentials"),
    "postgres": ("database_password", "mlflow_password"),
    "redis": ("redis.conf", "redis_password"),
    "mlflow": ("mlflow_database_url", "registry_token", "s3_credentials"),
    "objects": ("s3_root",),
    "alertmanager": ("alertmanager_key", "ops_webhook"),
    "grafana": ("grafana_password",),
}  # fmt: skip
#: Secrets that cannot be generated; without them a feature is off.
OPTIONAL = ("ops_webhook",)


def main() -> int:
    """Write missing secrets, copy them to the roles and return the exit code."""
    if len(sys.argv) not in (2, 3):
        print("Expected a folder and, optionally, one for the roles", file=sys.stderr)  # noqa: T201
        return 2
    folder = Path(sys.argv[1])
    try:
        made = complete(folder)
        if len(sys.argv) == 3:
            share(folder, Path(sys.argv[2]))
    except OSError as error:
        print(_complaint(folder, error), file=sys.stderr)  # noqa: T201
        return 1
    print(f"Created {', '.join(made)}" if made else "All secrets exist")  # noqa: T201
    return 0


def complete(folder: Path) -> list[str]:
    """Write missing secrets and return their names. Raises `OSError`."""
    made = [
        name
        for name in PASSWORDS
        if _keep(folder / name, secrets.token_urlsafe(12 if name in TYPED else STRENGTH))
    ]
    database, mlflow, redis, s3 = (
        (folder / f"{name}_password").read_text() for name in ("database", "mlflow", "redis", "s3")
    )
    registry = "postgresql+psycopg://{}@postgres/mlflow?client_encoding=utf8"
    _remove(folder / "mlflow_database_url", registry.format(f"rayon:{database}"))
    addresses = {
        # Prefix of API keys (`gateway.identity.api_keys`).
        "alertmanager_key": f"rayon_{secrets.token_urlsafe(STRENGTH)}",
        "database_url": f"postgresql+psycopg://rayon:{database}@postgres/rayon?client_encoding=utf8",
        "mlflow_database_url": registry.format(f"mlflow:{mlflow}"),
        "broker_url": f"redis://:{redis}@redis:6379/0",
        "redis.conf": f"requirepass {redis}\n",
        # Account of the bundled object store; put the keys of an external bucket into the second.
        "s3_root": f"ROOT_ACCESS_KEY=rayon\nROOT_SECRET_KEY={s3}\n",
        "s3_credentials": f"[default]\naws_access_key_id=rayon\naws_secret_access_key={s3}\n",
    }
    return made + [name for name, text in addresses.items() if _keep(folder / name, text)]


def share(folder: Path, roles: Path) -> None:
    """Copy the current secrets to each role. Raises `OSError`."""
    for role, names in ROLES.items():
        for name in names:
            if (folder / name).exists() or name not in OPTIONAL:
                _copy(folder / name, roles / role / name)
            else:
                (roles / role / name).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if target.exists() and target.read_bytes() == content:
        return
    with atomic_write(target, mode=READABLE) as temporary:
        temporary.write_bytes(content)


def _keep(path: Path, text: str) -> bool:
    """Write a file if it does not exist."""
    if path.exists():
        return False
    _write(path, text.encode())
    return True


def _remove(path: Path, text: str) -> None:
    """Remove a file with the text that earlier versions wrote; another text is the operator's."""
    if path.exists() and path.read_text() == text:
        path.unlink()


def _write(path: Path, content: bytes) -> None:
    """Write a file that is readable to everyone who mounts its folder."""
    path.write_bytes(content)
    path.chmod(READABLE)


def _complaint(folder: Path, error: OSError) -> str:
    names = dict.fromkeys(name for role in ROLES.values() for name in role)
    lacks = [
        name
        for name in (*PASSWORDS, *(names.keys() - {*PASSWORDS, *OPTIONAL}))
        if not (folder / name).exists()
    ]
    mend = ""
    if isinstance(error, PermissionError):
        mend = f" Mend it with: sudo chown -R {os.geteuid()} FOLDER, where FOLDER is RAYON_SECRETS."
    return (
        f"{error.filename}: {error.strerror}. A folder of your own (RAYON_SECRETS) holds files that"
        f" user 10001 can read, and all of them unless that user can write there. It lacks"
        f" {', '.join(sorted(lacks)) or 'none'}.{mend}"
    )


if __name__ == "__main__":
    sys.exit(main())
