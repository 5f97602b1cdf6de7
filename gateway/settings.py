"""Settings of the gateway, its feeder and its scheduler, each from `RAYON_…` variables."""

from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


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
    #: Of a request that sends a product with its image.
    max_body_bytes: int = Field(default=12 * 1024 * 1024, ge=1024)
    #: Of every other request that sends no file. JSON is read before anybody knows who sends it,
    #: and each unknown field of it costs more than its bytes.
    max_plain_bytes: int = Field(default=256 * 1024, ge=1024)
    #: One upload of `/v1/datasets`, images and all; the challenge's are 2.2 GB.
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

    #: One upload, images and all.
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
    #: Rows of one message: of texts alone, and where there are images. With 256 texts .80 of the
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
    """How long jobs and images are kept; 0 days: for ever, as on the embedded default."""

    model_config = SettingsConfigDict(
        env_prefix="RAYON_RETENTION_", frozen=True, populate_by_name=True
    )

    #: Final jobs older than this lose their texts, images and scores; catalogs their files.
    job_days: int = Field(default=0, ge=0)
    #: Images that nobody has sent for so long go earlier.
    image_days: int = Field(
        default=0,
        ge=0,
        # The second name is deprecated since 0.3.0.
        validation_alias=AliasChoices("RAYON_RETENTION_IMAGE_DAYS", "RAYON_RETENTION_PICTURE_DAYS"),
    )
    #: Whether the answer and the label of an old job stay, or the row goes too.
    keep_results: bool = True
    interval_seconds: float = Field(default=3600.0, gt=0)
    #: Jobs of one transaction, and the pause after it: others write meanwhile.
    batch: int = Field(default=200, ge=1)
    pause_seconds: float = Field(default=0.05, ge=0)
