"""Groups of settings, each read from environment variables that begin with `RAYON_`.

`RAYON_X_FILE` names a file that holds the value of `RAYON_X`; prefer it for secrets.

Each service's `main.py` builds the groups that it needs; nothing is read at import. The defaults
suit the embedded mode: one machine, SQLite, a local Redis, files under `var/`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from shared.contracts import Lane
from shared.invalid_settings import InvalidSettings


class MayBeMissing:
    """Marker of a setting whose file may be missing; the setting then counts as unset."""


class _Files(PydanticBaseSettingsSource):
    """Source that reads settings from files named by `<VARIABLE>_FILE`, such as Docker secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """Return the content without the final newline, the field name and `False` (not JSON)."""
        variable = f"{self.config.get('env_prefix', '')}{field_name}_file".upper()
        path = os.environ.get(variable)
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text().rstrip("\r\n"), field_name, False
        except UnicodeDecodeError:
            raise SettingsError(
                f"{variable}: {path} cannot be read: it is not UTF-8 text"
            ) from None
        except OSError as error:
            may_be_missing = any(isinstance(marker, MayBeMissing) for marker in field.metadata)
            if may_be_missing and isinstance(error, FileNotFoundError):
                return None, field_name, False
            raise SettingsError(f"{variable}: {path} cannot be read: {error.strerror}") from error

    def __call__(self) -> dict[str, Any]:
        """Return the values of the settings whose `<VARIABLE>_FILE` is set."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """Settings from the environment, or from the files that it names.

    Raises:
        InvalidSettings: A value is wrong, missing or cannot be read.
    """

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except (ValidationError, SettingsError) as error:
            prefix, fields = self.model_config["env_prefix"], type(self).model_fields
            # A traceback with its cause would show the values, and secrets among them.
            raise InvalidSettings.of(error, prefix, fields) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments first, then environment variables, then files."""
        files = _Files(settings_cls)
        return init_settings, env_settings, files, dotenv_settings, file_secret_settings


class DatabaseSettings(Settings):
    """Database URL and pool size: `sqlite:///var/rayon.db` or `postgresql+psycopg://…`."""

    model_config = SettingsConfigDict(env_prefix="RAYON_DATABASE_", frozen=True)

    url: SecretStr = SecretStr("sqlite:///var/rayon.db")
    pool_size: int = Field(default=20, ge=1)
    #: Longest wait for another writer of SQLite, and silence after which a PostgreSQL is probed, in
    #: seconds. The gateway has a shorter one of its own.
    answer_seconds: float = Field(default=20.0, gt=0)


def _parsable(url: SecretStr) -> SecretStr:
    """Check a URL here: the error of a library would show a part of its password."""
    try:
        _ = urlsplit(url.get_secret_value()).port
    except ValueError:
        raise ValueError(
            "Expected a URL such as redis://:password@host:6379/0, with special characters of the "
            "password percent-encoded. Received: another text"
        ) from None
    return url


class BrokerSettings(Settings):
    """Redis connection, delivery and retry limits."""

    model_config = SettingsConfigDict(env_prefix="RAYON_BROKER_", frozen=True)

    url: Annotated[SecretStr, AfterValidator(_parsable)] = SecretStr("redis://127.0.0.1:6380/0")
    #: An unacknowledged message is delivered again after this long; longer than any handler runs.
    visibility_timeout_seconds: int = Field(default=120, ge=5)
    #: Longest wait for an answer of Redis, in seconds. The gateway has a shorter one of its own.
    answer_seconds: float = Field(default=5.0, gt=0)
    #: After this many redeliveries or retries a message is parked as a dead letter.
    max_deliveries: int = Field(default=4, ge=1)
    #: Back-off before the first retry of a failed message; doubles each time.
    retry_delay_seconds: float = Field(default=1.0, gt=0)
    #: A worker that consumes nothing for this long while messages wait exits.
    deaf_after_seconds: float = Field(default=60.0, gt=0)
    #: A message of unknown type is requeued after this pause, and becomes a dead letter after this
    #: many tries: a rolling update may take ten minutes to start a version that handles it.
    unknown_pause_seconds: float = Field(default=5.0, gt=0)
    unknown_tries: int = Field(default=120, ge=1)
    #: File whose time a consuming worker updates every two seconds, for a cheap health check.
    beat_file: Path | None = None


class StorageSettings(Settings):
    """Storage URL: a folder, or any fsspec URL such as `s3://bucket/rayon`."""

    model_config = SettingsConfigDict(
        env_prefix="RAYON_STORAGE_", frozen=True, populate_by_name=True
    )

    url: str = "var/storage"
    #: Free bytes to keep on the disk of a folder, and on that of the temporary folder of uploads.
    #: Whatever would leave less is refused.
    min_free_bytes: int = Field(
        default=1024**3,
        ge=0,
        # The second name is deprecated since 0.3.0.
        validation_alias=AliasChoices(
            "RAYON_STORAGE_MIN_FREE_BYTES", "RAYON_CATALOGS_MIN_FREE_BYTES"
        ),
    )


class FeatureSettings(Settings):
    """Cache of image features in the storage."""

    model_config = SettingsConfigDict(env_prefix="RAYON_FEATURES_", frozen=True)

    enabled: bool = True
    #: Size limit in MiB. An image takes 4 KiB with Xception, so 1024 MiB hold 262,144 images. The
    #: oldest features are removed first.
    max_megabytes: int = Field(default=1024, ge=1)


class ReleaseSettings(Settings):
    """Model registry, and the local cache of its releases."""

    model_config = SettingsConfigDict(env_prefix="RAYON_RELEASES_", frozen=True)

    mlflow_url: str = "http://127.0.0.1:5001"
    #: Secret of Rayon's registry server; an MLflow elsewhere may take none, or one of its own.
    token: SecretStr | None = None
    model_name: str = "rayon"
    cache: Path = Path("var/releases")
    #: Longest wait for an answer of MLflow, in whole seconds. The gateway has a shorter one of its
    #: own.
    answer_seconds: float = Field(default=20.0, ge=1)
    #: Interval between checks of the registry for a new champion.
    poll_seconds: float = Field(default=3.0, gt=0)
    #: Jobs use a new champion once all live workers have loaded it, or after this long.
    switch_grace_seconds: float = Field(default=60.0, ge=0)


class LogSettings(Settings):
    """Level and format of logs."""

    model_config = SettingsConfigDict(env_prefix="RAYON_LOG_", frozen=True)

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"


class MetricsSettings(Settings):
    """Address of the internal port that serves `/metrics`; port 0 turns it off."""

    model_config = SettingsConfigDict(env_prefix="RAYON_METRICS_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class TracingSettings(Settings):
    """OpenTelemetry export of traces; off without an endpoint."""

    model_config = SettingsConfigDict(env_prefix="RAYON_TRACING_", frozen=True)

    #: OTLP/HTTP URL, such as `http://collector:4318/v1/traces`.
    endpoint: str | None = None
    #: Share of traces that are recorded, from 0 to 1, unless the client's trace context decides.
    sample_ratio: float = Field(default=1.0, ge=0, le=1)


class WorkerSettings(Settings):
    """Lanes, threads and batch limits of one worker process."""

    model_config = SettingsConfigDict(env_prefix="RAYON_WORKER_", frozen=True)

    lanes: tuple[Lane, ...] = (Lane.INTERACTIVE, Lane.CATALOG)
    #: Messages handled concurrently; the batcher joins them into batches.
    threads: int = Field(default=16, ge=1)
    #: Threads of one model call, by default one per core, and concurrent model calls. Two calls of
    #: one thread have a higher throughput than one call of two threads, but each image takes
    #: longer: this suits catalogs and texts.
    model_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    model_calls: int = Field(default=1, ge=1)
    #: Processes of an image worker that decode images, besides one for large images. Each uses up
    #: to 384 MiB, the one for large images up to 1536 MiB, an idle one 20 MiB.
    decoders: int = Field(default=2, ge=1)
    #: Largest number of items in one model call.
    max_batch: int = Field(default=64, ge=1)
    #: Time that the batcher waits for more items before it calls the model.
    max_wait_seconds: float = Field(default=0.002, ge=0)
    #: Added to the process's nice value, so that catalog workers yield the CPU to interactive ones.
    niceness: int = Field(default=0, ge=0, le=19)
