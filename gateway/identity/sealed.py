"""Values that the gateway's secret key seals: refresh tokens, known devices and unknown names.

The current key seals; it and the previous keys open, so that keys can be replaced.
"""

import hashlib
from typing import Any

from itsdangerous import BadSignature, Signer, URLSafeTimedSerializer

from gateway.identity.principal import digest, new_secret
from gateway.settings import GatewaySettings

#: Separates a random value from the seal that proves its origin. Neither contains it.
_SEPARATOR = "~"
_HASHING: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


class RefreshSecrets:
    """Makes and recognizes the secrets of refresh tokens.

    Each secret follows from the one before, so that clients that repeat a refresh, or refresh at
    the same time, all get the same one. Its seal distinguishes an old secret of a session, whose
    use means that it was stolen, from an invented one.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        keys = _oldest_first(settings)
        self._seals = Signer(keys, salt="rayon-refresh-secret", **_HASHING)
        self._order = Signer(keys, salt="rayon-refresh-order", **_HASHING)

    def first(self, session_id: str) -> str:
        """Return the first secret of a session."""
        return self._sealed(session_id, new_secret())

    def after(self, session_id: str, secret: str) -> str:
        """Return the secret that follows another one."""
        following = self._order.get_signature(f"{session_id}:{secret}").decode()
        return self._sealed(session_id, following)

    def is_issued(self, session_id: str, secret: str) -> bool:
        """Return True if the secret was made for this session, however long ago."""
        value, _, seal = secret.partition(_SEPARATOR)
        return self._seals.verify_signature(f"{session_id}:{value}", seal)

    def _sealed(self, session_id: str, value: str) -> str:
        seal = self._seals.get_signature(f"{session_id}:{value}").decode()
        return f"{value}{_SEPARATOR}{seal}"


class KnownDevices:
    """Recognizes devices on which a user has signed in by a cookie.

    Source: "device cookies" (OWASP, Slow Down Online Guessing Attacks with Device Cookies).

    Args:
        settings: Settings with the secret keys.
        days: Days for which a cookie is valid.
    """

    def __init__(self, settings: GatewaySettings, days: int) -> None:
        self.seconds = days * 24 * 3600
        self._sealing = URLSafeTimedSerializer(
            _oldest_first(settings), salt="rayon-known-device", signer_kwargs=_HASHING
        )

    def cookie(self, username: str) -> str:
        """Return the cookie of a new device of a user."""
        sealed = self._sealing.dumps({"user": digest(username), "device": new_secret()})
        return sealed if isinstance(sealed, str) else sealed.decode()

    def find(self, cookie: str | None, username: str) -> str | None:
        """Return the id of the device; `None` if the cookie is not one of this user."""
        try:
            found = self._sealing.loads(cookie or "", max_age=self.seconds)
        except BadSignature:
            return None
        return str(found["device"]) if found["user"] == digest(username) else None


class NameHashes:
    """Hashes names with the secret key.

    People sometimes type a password in place of their name. Unknown names are stored only as such
    hashes, which nobody without the key can compare with guesses.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        key = settings.secret_key.get_secret_value()
        self._signer = Signer(key, salt="rayon-name-hash", **_HASHING)

    def of(self, username: str) -> str:
        """Return 64 hexadecimal digits."""
        return digest(self._signer.get_signature(username).decode())

    def unknown(self, username: str) -> str:
        """Return what stands for an unknown name in logs. No username contains a colon."""
        return f"unknown:{self.of(username)[:16]}"


def _oldest_first(settings: GatewaySettings) -> list[str]:
    keys = (*reversed(settings.previous_secret_keys), settings.secret_key)
    return [key.get_secret_value() for key in keys]
