"""What a gateway in production must not start with."""

from sqlalchemy.engine import make_url
from zxcvbn import zxcvbn

from gateway.settings import GatewaySettings
from shared.settings import BrokerSettings, DatabaseSettings

#: Decimal digits of the number of guesses that a secret must stand: about 64 bits.
STRONG_LOG10 = 19.0
#: What is looked at of a secret; zxcvbn takes long for more.
LOOKED_AT = 64


def complaints(
    gateway: GatewaySettings, database: DatabaseSettings, broker: BrokerSettings
) -> list[str]:
    """What is wrong with the secrets, a line each; empty if nothing is."""
    secrets = {
        "RAYON_GATEWAY_SECRET_KEY": gateway.secret_key.get_secret_value(),
        "The password in RAYON_DATABASE_URL": make_url(database.url.get_secret_value()).password,
        "The password in RAYON_BROKER_URL": make_url(broker.url.get_secret_value()).password,
    }
    found = []
    if database.url.get_secret_value().startswith("sqlite"):
        secrets.pop("The password in RAYON_DATABASE_URL")
        found.append("RAYON_DATABASE_URL: expected PostgreSQL. Received: SQLite")
    for name, secret in secrets.items():
        if not secret:
            found.append(f"{name} is missing")
        elif is_weak(str(secret)):
            found.append(f"{name} is weak: `openssl rand -base64 36` makes a strong one")
    if gateway.secret_is_generated:
        found.append("RAYON_GATEWAY_SECRET_KEY was generated; set one that all gateways share")
    return found


def is_weak(secret: str) -> bool:
    """Whether a secret could be guessed, by the estimate of zxcvbn (Wheeler, USENIX 2016)."""
    return float(zxcvbn(secret[:LOOKED_AT], max_length=LOOKED_AT)["guesses_log10"]) < STRONG_LOG10
