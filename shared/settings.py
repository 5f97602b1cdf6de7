"""Settings in small groups, each read from environment variables that begin with `RAYON_`.

Every service's `main.py` builds the groups that it needs; nothing here is read at import.
The defaults are those of the embedded run: one machine, SQLite, a local Redis, files under `var/`.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.contracts import Lane


class DatabaseSettings(BaseSettings):
    """Where the rows live: `sqlite:///var/rayon.db` or `postgresql+psycopg://…`."""

    model_config = SettingsConfigDict(env_prefix="RAYON_DATABASE_", frozen=True)

    url: SecretStr = SecretStr("sqlite:///var/rayon.db")
    pool_size: int = Field(default=20, ge=1)


class BrokerSettings(BaseSettings):
    """The message queue: Redis, and how stubborn delivery is."""

    model_config = SettingsConfigDict(env_prefix="RAYON_BROKER_", frozen=True)

    url: SecretStr = SecretStr("redis://127.0.0.1:6380/0")
    #: An unacknowledged message is delivered again after this long; longer than any handler runs.
    visibility_timeout_seconds: int = Field(default=120, ge=5)
    #: After this many redeliveries or retries a message is parked as a dead letter.
    max_deliveries: int = Field(default=4, ge=1)
    #: First pause before a failed message is tried again; doubles each time.
    retry_delay_seconds: float = Field(default=1.0, gt=0)
    #: A worker that takes nothing for this long while messages wait is deaf, and ends itself.
    deaf_after_seconds: float = Field(default=60.0, gt=0)


class StorageSettings(BaseSettings):
    """Where the pictures live: a folder, or any fsspec address such as `s3://bucket/rayon`."""

    model_config = SettingsConfigDict(env_prefix="RAYON_STORAGE_", frozen=True)

    url: str = "var/storage"


class FeatureSettings(BaseSettings):
    """Features of pictures that were seen before, kept in the storage."""

    model_config = SettingsConfigDict(env_prefix="RAYON_FEATURES_", frozen=True)

    enabled: bool = True
    #: 4 KB a picture with Xception: room for 262,144 pictures. The oldest go first.
    max_megabytes: int = Field(default=1024, ge=1)


class ReleaseSettings(BaseSettings):
    """The model registry and the local copy of what it holds."""

    model_config = SettingsConfigDict(env_prefix="RAYON_RELEASES_", frozen=True)

    mlflow_url: str = "http://127.0.0.1:5001"
    model_name: str = "rayon"
    cache: Path = Path("var/releases")
    poll_seconds: float = Field(default=3.0, gt=0)
    #: A new champion is given to jobs once all live workers have it, or after this long.
    switch_grace_seconds: float = Field(default=60.0, ge=0)


class LogSettings(BaseSettings):
    """How logs look."""

    model_config = SettingsConfigDict(env_prefix="RAYON_LOG_", frozen=True)

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"


class MetricsSettings(BaseSettings):
    """The internal port of `/metrics`; 0 turns it off."""

    model_config = SettingsConfigDict(env_prefix="RAYON_METRICS_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class ProductSettings(BaseSettings):
    """What one product may be, alone or in a catalog."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    max_image_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    max_text_characters: int = Field(default=50_000, ge=1)


class GatewaySettings(ProductSettings):
    """The HTTP front: address, secrets, limits."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    #: Signs access tokens; at least 32 characters. No default: the launcher makes one.
    secret_key: SecretStr = Field(min_length=32)
    #: Signed before `secret_key` took over; tokens that they signed are valid until they end.
    previous_secret_keys: tuple[SecretStr, ...] = ()
    access_token_seconds: int = Field(default=15 * 60, ge=10)
    refresh_token_seconds: int = Field(default=14 * 24 * 3600, ge=60)
    #: A refresh token that was just used is valid for so long: its answer may have been lost.
    refresh_leeway_seconds: int = Field(default=10, ge=0, le=60)
    #: How long somebody has to choose a password.
    one_time_code_seconds: int = Field(default=3 * 24 * 3600, ge=60)
    max_body_bytes: int = Field(default=12 * 1024 * 1024, ge=1024)
    #: One upload of `/v1/datasets`, pictures and all; the challenge's are 2.2 GB.
    max_dataset_bytes: int = Field(default=8 * 1024**3, ge=1024)


class CatalogSettings(BaseSettings):
    """What a catalog may be, how much of it a user may have at once, and how it is fed."""

    model_config = SettingsConfigDict(env_prefix="RAYON_CATALOGS_", frozen=True)

    #: One upload, pictures and all.
    max_bytes: int = Field(default=8 * 1024**3, ge=1024)
    max_rows: int = Field(default=1_000_000, ge=1)
    #: Of one user, unfinished.
    max_unfinished: int = Field(default=10, ge=1)
    max_unfinished_rows: int = Field(default=2_000_000, ge=1)
    max_unfinished_bytes: int = Field(default=16 * 1024**3, ge=1024)
    #: Of all users together; beyond it the system is full.
    max_unfinished_rows_of_all: int = Field(default=20_000_000, ge=1)
    #: Uploads are refused when the storage's disk would have less room than this.
    min_free_bytes: int = Field(default=1024**3, ge=0)
    #: Rows of one message: of texts alone, and where there are pictures. With 256 texts .80 of the
    #: bare model's rows a second, and single jobs take 2.6 times as long beside a catalog; with 128
    #: .79 and 2.1 times: the database is locked for a shorter time.
    text_slice: int = Field(default=128, ge=1, le=4096)
    image_slice: int = Field(default=8, ge=1, le=4096)
    #: Rows of one user that may be at work at once, for each worker of the lane. Enough that no
    #: worker waits for the feeder, and so few that another user's rows soon have their turn.
    text_window: int = Field(default=2048, ge=1)
    image_window: int = Field(default=64, ge=1)
    #: How often the feeder looks for room.
    interval_seconds: float = Field(default=0.05, gt=0)
    #: A feeder that says nothing for this long has lost its catalogs to another one.
    lease_seconds: float = Field(default=10.0, gt=0)


class SweepSettings(BaseSettings):
    """How unfinished jobs are found and sent again."""

    model_config = SettingsConfigDict(env_prefix="RAYON_SWEEP_", frozen=True)

    interval_seconds: float = Field(default=5.0, gt=0)
    #: A job is looked at again this long after its message was last sent.
    lease_seconds: float = Field(default=30.0, gt=0)
    #: A job whose messages were lost this often fails with `delivery_failed`.
    max_attempts: int = Field(default=8, ge=1)


class WorkerSettings(BaseSettings):
    """One worker process: its lanes, its threads, its batches."""

    model_config = SettingsConfigDict(env_prefix="RAYON_WORKER_", frozen=True)

    lanes: tuple[Lane, ...] = (Lane.INTERACTIVE, Lane.CATALOG)
    #: Messages handled at once; they meet in the batcher.
    threads: int = Field(default=16, ge=1)
    #: Threads of one model call, and calls at once. Two calls of one thread each do more than one
    #: call of two threads, and each picture takes longer: right for catalogs and for texts.
    model_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    model_calls: int = Field(default=1, ge=1)
    max_batch: int = Field(default=64, ge=1)
    max_wait_seconds: float = Field(default=0.002, ge=0)
    #: Added to the process's nice value: whoever classifies catalogs lets single jobs pass.
    niceness: int = Field(default=0, ge=0, le=19)


class TrainerSettings(BaseSettings):
    """What the trainer service trains on, and where it works."""

    model_config = SettingsConfigDict(env_prefix="RAYON_TRAINER_", frozen=True)

    data: Path | None = None
    weights: Path | None = None
    work_folder: Path = Path("var/training")
    #: Of one attempt's training, and of the comparison after it.
    time_limit_seconds: float = Field(default=6 * 3600.0, gt=0)
    #: Between asking a training to end and killing it; the launcher allows the service 20 s.
    stop_grace_seconds: float = Field(default=10.0, gt=0)
    #: A run whose trainer or training is killed this often is given up.
    max_attempts: int = Field(default=3, ge=1)
    #: How long a registry that does not answer is asked again before the run fails.
    registry_patience_seconds: float = Field(default=15 * 60.0, ge=0)
    #: Whether a better release serves at once, or waits for an admin. A person decides unless told
    #: otherwise: a release may be better on the whole and worse where it matters to a shop.
    promotion: Literal["automatic", "manual"] = "manual"
    #: Least gain of weighted F1 that is worth a switch: each switch changes answers that customers
    #: have seen. On 4,000 rows .002 is 8 products, and chance alone moves .003 to .006; so the
    #: interval decides on tests of this size, and the margin on much larger ones.
    promotion_margin: float = Field(default=0.002, ge=0)
    #: Of the two-sided interval of the gain; a release that is as good passes once in forty times.
    promotion_confidence: float = Field(default=0.95, gt=0.5, lt=1)
