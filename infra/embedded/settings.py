"""Settings of the embedded run and the environment of its processes."""

import os
from pathlib import Path

from dotenv import dotenv_values
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings

#: The root of the project; processes run here, so that `python -m gateway.main` finds its code.
PROJECT = Path(__file__).resolve().parents[2]
#: Variable in every process that names its home, so that stray processes can be identified.
MARK = "RAYON_SUPERVISED_IN"
#: Addresses at which local clients reach a gateway that listens on all.
LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nosec B104  # compared


class EmbeddedSettings(Settings):
    """Ports and folders of the embedded run."""

    model_config = SettingsConfigDict(env_prefix="RAYON_", frozen=True)

    #: All data and logs of the instance.
    home: Path = PROJECT / "var"
    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=8000, ge=1, le=65535)
    redis_port: int = Field(default=6380, ge=1, le=65535)
    mlflow_port: int = Field(default=5001, ge=1, le=65535)
    #: `/metrics` of the first process, the others follow; 0 turns them off.
    metrics_port: int = Field(default=9400, ge=0, le=65500)
    #: The start is refused with less free space than this.
    min_free_megabytes: int = Field(default=500, ge=0)
    #: A start in which nothing moves for this long is given up.
    start_seconds: float = Field(default=180.0, gt=0)

    @property
    def address(self) -> str:
        """Address of the gateway for local clients."""
        host = LOCAL.get(self.gateway_host, self.gateway_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.gateway_port}"

    @property
    def mlflow_url(self) -> str:
        """Address of the registry."""
        return f"http://127.0.0.1:{self.mlflow_port}"


def read_dotenv() -> None:
    """Complete the environment from `.env`, or the file that `RAYON_DOTENV` names.

    Variables of the shell take precedence.
    """
    path = Path(os.environ.get("RAYON_DOTENV", PROJECT / ".env"))
    for name, value in dotenv_values(path).items():
        if value is not None:
            os.environ.setdefault(name, value)


def environment(
    settings: EmbeddedSettings, secret_key: str, redis_password: str, registry_token: str
) -> dict[str, str]:
    """Return the variables of all processes: the caller's, completed."""
    home = settings.home
    defaults = {
        "RAYON_DATABASE_URL": f"sqlite:///{home / 'rayon.db'}",
        "RAYON_STORAGE_URL": str(home / "storage"),
        "RAYON_RELEASES_CACHE": str(home / "releases"),
        "RAYON_TRAINER_WORK_FOLDER": str(home / "training"),
        "RAYON_GATEWAY_SECRET_KEY": secret_key,
    }
    fixed = {
        "RAYON_BROKER_URL": f"redis://:{redis_password}@127.0.0.1:{settings.redis_port}/0",
        "RAYON_RELEASES_MLFLOW_URL": settings.mlflow_url,
        "RAYON_RELEASES_TOKEN": registry_token,
        "RAYON_GATEWAY_HOST": settings.gateway_host,
        "RAYON_GATEWAY_PORT": str(settings.gateway_port),
        "PYTHONUNBUFFERED": "1",
        MARK: str(home),
    }
    if "RAYON_GATEWAY_SECRET_KEY" not in os.environ:
        defaults["RAYON_GATEWAY_SECRET_IS_GENERATED"] = "true"  # noqa: S105  # nosec B105  # says of one
    return defaults | dict(os.environ) | fixed
