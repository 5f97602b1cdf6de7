"""Checks of the secrets that a gateway in production starts with."""

from sqlalchemy.engine import make_url

from gateway.settings import GatewaySettings
from shared.settings import BrokerSettings, DatabaseSettings

#: Minimum decimal logarithm of the guesses needed to find a secret; about 64 bits.
MIN_LOG10_GUESSES = 19.0
#: Characters of a secret that are rated. zxcvbn is slow on longer ones.
RATED_CHARACTERS = 64


def complaints(
    gateway: GatewaySettings, database: DatabaseSettings, broker: BrokerSettings
) -> list[str]:
    """Return one line for each problem with the secrets."""
    secrets = {
        "RAYON_GATEWAY_SECRET_KEY": gateway.secret_key.get_secret_value(),
        "The password in RAYON_DATABASE_URL": make_url(database.url.get_secret_value()).password,
        "The password in RAYON_BROKER_URL": make_url(broker.url.get_secret_value()).password,
    }
    problems = []
    if database.url.get_secret_value().startswith("sqlite"):
        secrets.pop("The password in RAYON_DATABASE_URL")
        problems.append("RAYON_DATABASE_URL: expected PostgreSQL. Received: SQLite")
    for name, secret in secrets.items():
        if not secret:
            problems.append(f"{name} is missing")
        elif is_weak(str(secret)):
            problems.append(f"{name} is weak. Generate a strong one with `openssl rand -base64 36`")
    if gateway.secret_is_generated:
        problems.append("RAYON_GATEWAY_SECRET_KEY was generated. Set one key for all gateways")
    return problems


def is_weak(secret: str) -> bool:
    """Return True if zxcvbn estimates that a secret can be guessed (Wheeler, USENIX 2016)."""
    # It takes 12 MiB, and only a start in production rates secrets.
    from zxcvbn import zxcvbn

    return (
        float(zxcvbn(secret[:RATED_CHARACTERS], max_length=RATED_CHARACTERS)["guesses_log10"])
        < MIN_LOG10_GUESSES
    )
