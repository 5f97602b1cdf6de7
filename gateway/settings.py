"""Settings of the gateway, its feeder and its scheduler, read from `RAYON_…` variables."""

from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from shared.contracts import STATIONS, Lane
from shared.settings import Settings


class ProductSettings(Settings):
    """Size limits of one product, sent alone or in a catalog."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    #: Largest accepted image, in bytes.
    max_image_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    #: Longest accepted designation or description, in characters.
    max_text_characters: int = Field(default=50_000, ge=1)


class GatewayPort(Settings):
    """Address and port that the gateway listens on."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)


class ProcessSettings(Settings):
    """Processes that should run."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    #: Processes that are reported as missing while they have no heartbeat: in `/v1/queues`,
    #: `rayon queues`, `/readyz?verbose` and the metric `rayon_processes`.
    expected_processes: tuple[str, ...] = (
        "gateway",
        "feeder",
        "scheduler",
        *(f"{station}-{lane.value}" for lane in Lane for station in STATIONS),
        "trainer",
        "monitor",
    )


class GatewaySettings(ProductSettings, GatewayPort, ProcessSettings):
    """Address, secrets, token lifetimes and request limits of the HTTP API."""

    model_config = SettingsConfigDict(populate_by_name=True)

    #: Key that signs access tokens, at least 32 characters. Required; the launcher generates one.
    secret_key: SecretStr = Field(min_length=32)
    #: True if the launcher generated `secret_key` on this machine. The launcher sets it.
    secret_is_generated: bool = False
    #: True in production: refuses to start with a weak, missing or generated secret, and sends
    #: `Strict-Transport-Security`, so that browsers use TLS only.
    production: bool = False
    #: Previous signing keys. Tokens signed with them stay valid until they expire.
    previous_secret_keys: tuple[SecretStr, ...] = ()
    #: Lifetime of an access token, in seconds.
    access_token_seconds: int = Field(default=15 * 60, ge=10)
    #: Lifetime of a refresh token, in seconds.
    refresh_token_seconds: int = Field(default=14 * 24 * 3600, ge=60)
    #: Maximum length of a session in seconds, however often it is refreshed. After it the user has
    #: to sign in again.
    session_seconds: int = Field(default=90 * 24 * 3600, ge=60)
    #: Time in seconds for which a used refresh token is still accepted, in case the response to its
    #: first use was lost.
    refresh_leeway_seconds: int = Field(default=10, ge=0, le=60)
    #: Lifetime of the one-time code with which a user chooses a password, in seconds.
    one_time_code_seconds: int = Field(default=3 * 24 * 3600, ge=60)
    #: Origins whose web pages may call the API (CORS). None by default.
    cors_origins: tuple[str, ...] = ()
    #: Addresses or networks of proxies whose `X-Forwarded-For` header is trusted. None by default.
    trusted_proxies: tuple[str, ...] = ()
    #: Time in seconds between reporting not ready on `/readyz` and stopping, so that proxies stop
    #: sending requests first. 0 stops at once.
    drain_seconds: float = Field(default=0.0, ge=0, le=300)
    #: Largest body of a request that sends a product with its image, in bytes. In base64, which
    #: JSON needs, an image takes a third more than its bytes.
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    #: Largest body of every other request without a file, in bytes. It is small because JSON is
    #: parsed before the sender is authenticated, and each unknown field costs more than its bytes.
    max_plain_bytes: int = Field(default=256 * 1024, ge=1024)
    #: Largest upload to `/v1/datasets`, images included, in bytes. The files of the Rakuten
    #: challenge are 2.2 GB.
    max_dataset_bytes: int = Field(default=8 * 1024**3, ge=1024)
    #: The trainer's own data folder, which a training run without a dataset uses. The gateway does
    #: not read it; without one, a training run must name a dataset.
    trainer_data: Path | None = Field(default=None, validation_alias="RAYON_TRAINER_DATA")


class ConnectionSettings(Settings):
    """Limits of the connections to the gateway, of their headers and of the time they may take."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    #: Open connections; fewer if the system allows fewer open files. Beyond it, the connection that
    #: has been idle for longest is closed; a new one gets 503 if all others are in use.
    max_connections: int = Field(default=2048, ge=1)
    #: Open connections of one address, or of one IPv6 network of 64 bits. `trusted_proxies` are
    #: exempt, because they carry the connections of many clients.
    max_connections_per_address: int = Field(default=512, ge=1)
    #: Bytes and number of the headers of a request. More get 431.
    max_header_bytes: int = Field(default=32 * 1024, ge=1024)
    max_headers: int = Field(default=100, ge=10)
    #: Time in seconds for all headers of a request. Slower ones get 408.
    header_seconds: float = Field(default=20.0, gt=0)
    #: Least bytes of a body in a second, on average over `body_seconds`. Slower ones get 408.
    min_body_bytes_per_second: int = Field(default=1000, ge=1)
    body_seconds: float = Field(default=30.0, gt=0)
    #: Time in seconds without progress after which a client that reads no response is cut off.
    send_seconds: float = Field(default=300.0, gt=0)
    #: Time in seconds for which an idle connection is kept. Longer than the proxy keeps it
    #: (`infra/proxy/Caddyfile`): the proxy must be the one that closes connections, or a request
    #: may arrive on one that is closing.
    keep_alive_seconds: int = Field(default=75, ge=1)


class StoreSettings(Settings):
    """Longest waits of a request for a store that hangs; background processes have longer ones."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GATEWAY_", frozen=True)

    #: Seconds for an answer of Redis.
    queue_seconds: float = Field(default=1.0, gt=0)
    #: Seconds for a lock or a connection of the database, and silence after which a PostgreSQL is
    #: probed.
    database_seconds: float = Field(default=3.0, gt=0)
    #: Seconds for an answer of MLflow.
    registry_seconds: float = Field(default=3.0, ge=1)


class SingleSignOnSettings(Settings):
    """Single sign-on with an OpenID provider. Disabled unless `issuer` is set."""

    model_config = SettingsConfigDict(env_prefix="RAYON_SSO_", frozen=True)

    #: URL of the provider, such as `https://login.example.org/realms/shop`.
    issuer: str | None = None
    #: Identifier and secret of Rayon as a client of the provider.
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    #: URL that the provider redirects users back to: `https://…/v1/single-sign-on/callback`.
    redirect_url: str = ""
    #: OpenID scopes to request, separated by spaces.
    scope: str = "openid profile email"
    #: Claim of the ID token that holds the username.
    username_claim: str = "preferred_username"
    #: Claim that holds the groups or roles of a user, and the Rayon role of each of its values.
    #: Without it new users are clients, and admins change their roles in Rayon.
    roles_claim: str | None = None
    roles: dict[str, Literal["admin", "operator", "client"]] = Field(default={})
    #: True to create an account at the first sign-in of a user who has none.
    creates_accounts: bool = True

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        missing = [
            f"RAYON_SSO_{name.upper()}"
            for name in ("client_id", "client_secret", "redirect_url")
            if self.issuer and not getattr(self, name)
        ]
        if missing:
            raise ValueError(f"Expected {', '.join(missing)} along with RAYON_SSO_ISSUER")
        return self


class RateSettings(Settings):
    """Rate limits and quotas of one user."""

    model_config = SettingsConfigDict(env_prefix="RAYON_RATES_", frozen=True)

    #: Requests a minute, counted for each user, their API keys included.
    requests_per_minute: int = Field(default=60_000, ge=1)
    #: Unfinished single jobs of one user.
    jobs_in_flight: int = Field(default=10_000, ge=1)
    #: Single jobs and catalog rows of one user since midnight UTC.
    rows_per_day: int = Field(default=5_000_000, ge=1)
    #: Bytes of one user in the storage: images, files of catalogs, versions of datasets.
    stored_bytes: int = Field(default=100 * 1024**3, ge=1)


class SignInLimitSettings(Settings):
    """Limits on failed sign-ins, counted in a sliding window."""

    model_config = SettingsConfigDict(env_prefix="RAYON_GUESSES_", frozen=True)

    #: Length of the window, in seconds.
    window_seconds: int = Field(default=15 * 60, ge=1)
    #: Failures from one address at one account, and of one known device at its account.
    of_address_at_account: int = Field(default=10, ge=1)
    #: Failures from one address at all accounts together. Known devices are exempt from this and
    #: the next limit.
    of_address: int = Field(default=50, ge=1)
    #: Failures at one account from all addresses together. An address from which the owner signed
    #: in within `known_days` is exempt.
    at_account: int = Field(default=100, ge=1)
    #: Days after a successful sign-in for which its address and its device count as known for the
    #: account.
    known_days: int = Field(default=90, ge=1)


class CatalogSettings(Settings):
    """Size limits of catalogs, quotas of each user, and the pace of the feeder."""

    model_config = SettingsConfigDict(env_prefix="RAYON_CATALOGS_", frozen=True)

    #: Largest upload, images included, in bytes.
    max_bytes: int = Field(default=8 * 1024**3, ge=1024)
    #: Most rows of one catalog.
    max_rows: int = Field(default=1_000_000, ge=1)
    #: Unfinished catalogs of one user: their number, their rows and their bytes.
    max_unfinished: int = Field(default=10, ge=1)
    max_unfinished_rows: int = Field(default=2_000_000, ge=1)
    max_unfinished_bytes: int = Field(default=16 * 1024**3, ge=1024)
    #: Unfinished rows of all users together. Uploads beyond it are refused.
    max_unfinished_rows_of_all: int = Field(default=20_000_000, ge=1)
    #: Hours for which the files of a draft are kept after its last check was requested.
    draft_hours: float = Field(default=24.0, gt=0)
    #: Rows in one message, without and with images. Measured with texts: 256 rows reach 0.80 of the
    #: throughput of the bare model, and single jobs beside a catalog take 2.6 times as long; 128
    #: rows reach 0.79, and 2.1 times as long, because the database is locked for a shorter time.
    text_slice: int = Field(default=128, ge=1, le=4096)
    image_slice: int = Field(default=8, ge=1, le=4096)
    #: Rows of one user in progress at once for each worker, without and with images. High enough
    #: that no worker waits for the feeder, low enough that rows of other users start soon.
    text_window: int = Field(default=2048, ge=1)
    image_window: int = Field(default=64, ge=1)
    #: Seconds between two rounds of the feeder.
    interval_seconds: float = Field(default=0.05, gt=0)
    #: Lease of a feeder on its catalogs, in seconds. Another feeder takes them over when the lease
    #: is not renewed in time.
    lease_seconds: float = Field(default=10.0, gt=0)


class ExplanationSettings(Settings):
    """Limits of explanations, each of which costs as much as some dozens of answers."""

    model_config = SettingsConfigDict(env_prefix="RAYON_EXPLANATIONS_", frozen=True)

    #: Answers that may be explained at once: of one user, and of all. Fewer than an interactive
    #: worker has threads, so that scoring never waits for all of them.
    of_user: int = Field(default=2, ge=1)
    of_all: int = Field(default=6, ge=1)
    #: Seconds after which an explanation counts as lost. Workers leave out requests that are older.
    seconds: float = Field(default=60.0, gt=0)


class SweepSettings(Settings):
    """Retries of unfinished jobs whose messages were lost."""

    model_config = SettingsConfigDict(env_prefix="RAYON_SWEEP_", frozen=True)

    #: Seconds between two searches for unfinished jobs.
    interval_seconds: float = Field(default=5.0, gt=0)
    #: Seconds after the last message of a job before it is sent again.
    lease_seconds: float = Field(default=30.0, gt=0)
    #: Lost messages after which a job fails with `delivery_failed`.
    max_attempts: int = Field(default=8, ge=1)


class RetentionSettings(Settings):
    """Retention of jobs and images, in days. 0, the embedded default, keeps them forever."""

    model_config = SettingsConfigDict(
        env_prefix="RAYON_RETENTION_", frozen=True, populate_by_name=True
    )

    #: Age in days at which a final job loses its texts, images and scores, and a catalog its files.
    job_days: int = Field(default=0, ge=0)
    #: Days since an image was last sent, after which it is deleted even before its job expires.
    image_days: int = Field(
        default=0,
        ge=0,
        # The second name is deprecated since 0.3.0.
        validation_alias=AliasChoices("RAYON_RETENTION_IMAGE_DAYS", "RAYON_RETENTION_PICTURE_DAYS"),
    )
    #: True to keep the answer and label of an expired job, false to delete its row.
    keep_results: bool = True
    #: Seconds between two clean-ups.
    interval_seconds: float = Field(default=3600.0, gt=0)
    #: Jobs in one transaction, and the pause after it in seconds, in which other writers proceed.
    batch: int = Field(default=200, ge=1)
    pause_seconds: float = Field(default=0.05, ge=0)
