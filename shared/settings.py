"""Settings in small groups, each read from environment variables that begin with `RAYON_`.

`RAYON_X_FILE` names a file that holds what `RAYON_X` would; secrets are better kept there.

Every service's `main.py` builds the groups that it needs; nothing here is read at import.
The defaults are those of the embedded run: one machine, SQLite, a local Redis, files under `var/`.
"""

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from shared.contracts import Lane


class MayBeMissing:
    """Marks a setting whose file may be gone; it is then as if none were named."""


class _Files(PydanticBaseSettingsSource):
    """Reads a setting from the file that `<VARIABLE>_FILE` names, as Docker's secrets come."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """The file's content without the line's end, the field's name, and that it is no JSON."""
        variable = f"{self.config.get('env_prefix', '')}{field_name}_file".upper()
        path = os.environ.get(variable)
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text().rstrip("\r\n"), field_name, False
        except OSError as error:
            may_be_missing = any(isinstance(one, MayBeMissing) for one in field.metadata)
            if may_be_missing and isinstance(error, FileNotFoundError):
                return None, field_name, False
            raise SettingsError(f"{variable}: {path} cannot be read: {error.strerror}") from error

    def __call__(self) -> dict[str, Any]:
        """All settings that a file is named for."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """Settings from the environment, or from the files that it names."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in the code counts most, then the environment, then files."""
        files = _Files(settings_cls)
        return init_settings, env_settings, files, dotenv_settings, file_secret_settings


class DatabaseSettings(Settings):
    """Where the rows live: `sqlite:///var/rayon.db` or `postgresql+psycopg://…`."""

    model_config = SettingsConfigDict(env_prefix="RAYON_DATABASE_", frozen=True)

    url: SecretStr = SecretStr("sqlite:///var/rayon.db")
    pool_size: int = Field(default=20, ge=1)


class BrokerSettings(Settings):
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
    #: A message of an unknown kind is given back after this pause, and parked after so many tries:
    #: for ten minutes another version may be on its way.
    unknown_pause_seconds: float = Field(default=5.0, gt=0)
    unknown_tries: int = Field(default=120, ge=1)
    #: Touched every two seconds by a worker that consumes: a health check that costs nothing.
    beat_file: Path | None = None


class StorageSettings(Settings):
    """Where the pictures live: a folder, or any fsspec address such as `s3://bucket/rayon`."""

    model_config = SettingsConfigDict(env_prefix="RAYON_STORAGE_", frozen=True)

    url: str = "var/storage"


class FeatureSettings(Settings):
    """Features of pictures that were seen before, kept in the storage."""

    model_config = SettingsConfigDict(env_prefix="RAYON_FEATURES_", frozen=True)

    enabled: bool = True
    #: 4 KB a picture with Xception: room for 262,144 pictures. The oldest go first.
    max_megabytes: int = Field(default=1024, ge=1)


class ReleaseSettings(Settings):
    """The model registry and the local copy of what it holds."""

    model_config = SettingsConfigDict(env_prefix="RAYON_RELEASES_", frozen=True)

    mlflow_url: str = "http://127.0.0.1:5001"
    model_name: str = "rayon"
    cache: Path = Path("var/releases")
    poll_seconds: float = Field(default=3.0, gt=0)
    #: A new champion is given to jobs once all live workers have it, or after this long.
    switch_grace_seconds: float = Field(default=60.0, ge=0)


class LogSettings(Settings):
    """How logs look."""

    model_config = SettingsConfigDict(env_prefix="RAYON_LOG_", frozen=True)

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"


class MetricsSettings(Settings):
    """The internal port of `/metrics`; 0 turns it off."""

    model_config = SettingsConfigDict(env_prefix="RAYON_METRICS_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class TracingSettings(Settings):
    """OpenTelemetry; without an endpoint there is none."""

    model_config = SettingsConfigDict(env_prefix="RAYON_TRACING_", frozen=True)

    #: OTLP over HTTP, such as `http://collector:4318/v1/traces`.
    endpoint: str | None = None
    #: Share of the traces that are kept, where the client has not decided it.
    sample_ratio: float = Field(default=1.0, ge=0, le=1)


class ProductSettings(Settings):
    """What one product may be, alone or in a catalog."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    max_image_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    max_text_characters: int = Field(default=50_000, ge=1)


class GatewayPort(Settings):
    """Where the gateway listens."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)


class GatewaySettings(ProductSettings, GatewayPort):
    """The HTTP front: address, secrets, limits."""

    #: Signs access tokens; at least 32 characters. No default: the launcher makes one.
    secret_key: SecretStr = Field(min_length=32)
    #: Whether it was made on this machine and not given; so the launcher says.
    secret_is_generated: bool = False
    #: In production weak, missing and generated secrets are refused, and browsers told to use TLS.
    production: bool = False
    #: Signed before `secret_key` took over; tokens that they signed are valid until they end.
    previous_secret_keys: tuple[SecretStr, ...] = ()
    access_token_seconds: int = Field(default=15 * 60, ge=10)
    refresh_token_seconds: int = Field(default=14 * 24 * 3600, ge=60)
    #: Of a session, however often it is refreshed; then the password is asked for again.
    session_seconds: int = Field(default=90 * 24 * 3600, ge=60)
    #: A refresh token that was just used is valid for so long: its answer may have been lost.
    refresh_leeway_seconds: int = Field(default=10, ge=0, le=60)
    #: How long somebody has to choose a password.
    one_time_code_seconds: int = Field(default=3 * 24 * 3600, ge=60)
    #: Web pages of these origins may call the API; none by default.
    cors_origins: tuple[str, ...] = ()
    #: Addresses or networks of proxies whose `X-Forwarded-For` is believed; none by default.
    trusted_proxies: tuple[str, ...] = ()
    #: Between saying on `/readyz` that it stops and stopping, so that proxies send nothing more.
    drain_seconds: float = Field(default=0.0, ge=0, le=300)
    #: Of a request that sends a product with its picture.
    max_body_bytes: int = Field(default=12 * 1024 * 1024, ge=1024)
    #: Of every other request that sends no file. JSON is read before anybody knows who sends it,
    #: and each unknown field of it costs more than its bytes.
    max_plain_bytes: int = Field(default=256 * 1024, ge=1024)
    #: One upload of `/v1/datasets`, pictures and all; the challenge's are 2.2 GB.
    max_dataset_bytes: int = Field(default=8 * 1024**3, ge=1024)


class SingleSignOnSettings(Settings):
    """An OpenID provider that signs people in; without an issuer there is none."""

    model_config = SettingsConfigDict(env_prefix="RAYON_SSO_", frozen=True)

    #: Such as `https://login.example.org/realms/shop`.
    issuer: str | None = None
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    #: Where the provider sends people back to: `https://…/v1/single-sign-on/callback`.
    redirect_url: str = ""
    scope: str = "openid profile email"
    username_claim: str = "preferred_username"
    #: The claim that says what somebody may do, and the role that each of its values stands for.
    #: Without it people come as clients, and admins change that.
    roles_claim: str | None = None
    roles: dict[str, Literal["admin", "operator", "client"]] = Field(default={})
    #: Whether somebody without an account is given one.
    creates_accounts: bool = True

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        missing = [
            f"RAYON_SSO_{name.upper()}"
            for name in ("client_id", "client_secret", "redirect_url")
            if self.issuer and not getattr(self, name)
        ]
        if missing:
            raise ValueError(f"RAYON_SSO_ISSUER needs {', '.join(missing)} as well")
        return self


class RateSettings(Settings):
    """How much one user may ask for."""

    model_config = SettingsConfigDict(env_prefix="RAYON_RATES_", frozen=True)

    #: Of a user, and of each API key.
    requests_per_minute: int = Field(default=60_000, ge=1)
    #: Single jobs that wait for their answer.
    jobs_in_flight: int = Field(default=10_000, ge=1)
    #: Single jobs and rows of catalogs, since midnight in UTC.
    rows_per_day: int = Field(default=5_000_000, ge=1)


class GuessSettings(Settings):
    """How many failed sign-ins are too many."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GUESSES_", frozen=True)

    window_seconds: int = Field(default=15 * 60, ge=1)
    of_address_at_account: int = Field(default=10, ge=1)
    of_address: int = Field(default=50, ge=1)
    at_account: int = Field(default=100, ge=1)
    #: An address from which an account's owner signed in is known for so long.
    known_days: int = Field(default=90, ge=1)


class CatalogSettings(Settings):
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


class SweepSettings(Settings):
    """How unfinished jobs are found and sent again."""

    model_config = SettingsConfigDict(env_prefix="RAYON_SWEEP_", frozen=True)

    interval_seconds: float = Field(default=5.0, gt=0)
    #: A job is looked at again this long after its message was last sent.
    lease_seconds: float = Field(default=30.0, gt=0)
    #: A job whose messages were lost this often fails with `delivery_failed`.
    max_attempts: int = Field(default=8, ge=1)


class RetentionSettings(Settings):
    """How long jobs and pictures are kept; 0 days: for ever, as on the embedded default."""

    model_config = SettingsConfigDict(env_prefix="RAYON_RETENTION_", frozen=True)

    #: Final jobs older than this lose their texts, pictures and scores; catalogs their files.
    job_days: int = Field(default=0, ge=0)
    #: Pictures that nobody has sent for so long go earlier.
    picture_days: int = Field(default=0, ge=0)
    #: Whether the answer and the label of an old job stay, or the row goes too.
    keep_results: bool = True
    interval_seconds: float = Field(default=3600.0, gt=0)
    #: Jobs of one transaction, and the pause after it: others write meanwhile.
    batch: int = Field(default=200, ge=1)
    pause_seconds: float = Field(default=0.05, ge=0)


class WorkerSettings(Settings):
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


class MonitorSettings(Settings):
    """What the monitor measures, and what is done about alerts."""

    model_config = SettingsConfigDict(env_prefix="RAYON_MONITOR_", frozen=True)

    #: Whether an alert leads to a training at once, or a person is asked first.
    response: Literal["automatic", "ask"] = "automatic"
    #: Trainings that alerts may start within seven days; a person may always start one.
    trainings_per_week: int = Field(default=2, ge=0)
    #: The stored dataset that is trained on, with the labels that came since. Without a name it is
    #: the one that was trained on last, else the newest, else the trainer's own folder.
    dataset: str | None = None
    #: A training is asked for by the calendar, so many days after the last one; 0: never.
    train_every_days: int = Field(default=0, ge=0)
    #: How often it is looked at how trainings went.
    interval_seconds: float = Field(default=10.0, gt=0)
    #: How often F1 is estimated, and measured where labels came.
    measure_seconds: float = Field(default=15 * 60.0, gt=0)
    #: The champion is scored on the test set again after so many days.
    test_every_days: int = Field(default=7, ge=1)
    #: Answers of each day that people are asked to look at, on average: drawn at random, and more
    #: likely the less sure they are.
    reviews_random: int = Field(default=50, ge=0)
    reviews_uncertain: int = Field(default=50, ge=0)


class DriftSettings(Settings):
    """How answers are compared with the release's reference."""

    model_config = SettingsConfigDict(env_prefix="RAYON_DRIFT_", frozen=True)

    #: Answers of a window.
    window_rows: int = Field(default=1_000, ge=100)
    #: Where fewer come, a window ends after so long, if it has the least number.
    window_seconds: float = Field(default=24 * 3600.0, gt=0)
    least_rows: int = Field(default=200, ge=100)
    #: How often it is looked whether a window is complete.
    interval_seconds: float = Field(default=15.0, gt=0)
    #: Nothing is alerted of twice within so long.
    cooldown_seconds: float = Field(default=7 * 24 * 3600.0, ge=0)
    #: What is far; see `trainer.monitoring.drift.measure.Limits`.
    content: float = Field(default=0.15, gt=0, le=1)
    mix: float = Field(default=0.1, gt=0)
    share: float = Field(default=0.2, gt=0)
    #: What chance does not explain; in two windows in a row.
    p_value: float = Field(default=0.001, gt=0, lt=1)


class TrainerSettings(Settings):
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
