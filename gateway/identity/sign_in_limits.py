"""Limits on failed sign-ins, which slow down password guessing without locking owners out.

Three rates of failed attempts are limited: of one address at one account, of one address at all
accounts, and of all addresses at one account. The last one would let anybody lock an account by
failing to sign in to it, so an address from which the owner signed in recently is exempt from it.
Source: OWASP Authentication Cheat Sheet, and "device cookies" (OWASP, Slow Down Online Guessing
Attacks).
"""

import ipaddress
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

from gateway.identity.principal import Origin
from gateway.settings import SignInLimitSettings
from gateway.web.rates import Rate, Rates
from shared.errors import Limited

#: Prefix length of the smallest IPv6 network that a provider assigns to a customer.
IPV6_PREFIX = 64


class SignInLimits:
    """Counts failed sign-ins and refuses further attempts beyond the limits.

    Args:
        rates: Counters of the failures.
        settings: The limits.
        is_known: Returns True if a user has signed in from an address recently.
    """

    def __init__(
        self, rates: Rates, settings: SignInLimitSettings, is_known: Callable[[str, str], bool]
    ) -> None:
        self._rates = rates
        self._is_known = is_known
        seconds = settings.window_seconds
        self._pair = Rate("failed sign-ins", settings.of_address_at_account, seconds)
        self._address = Rate("failed sign-ins of this address", settings.of_address, seconds)
        self._account = Rate("failed sign-ins at this account", settings.at_account, seconds)

    def require(self, username: str, origin: Origin) -> None:
        """Check the limits before the password is verified.

        Raises:
            Limited: A limit is reached. The error holds the time to wait, and is the same for
                unknown accounts.
        """
        address, account = _network(origin.address), _digest(username)
        self._rates.require(self._pair, f"{account}:{address}")
        self._rates.require(self._address, address)
        try:
            self._rates.require(self._account, account)
        except Limited:
            if not (origin.address and self._is_known(username, origin.address)):
                raise

    def record_failure(self, username: str, origin: Origin) -> None:
        """Count a failed attempt."""
        address, account = _network(origin.address), _digest(username)
        self._rates.record(self._pair, f"{account}:{address}")
        self._rates.record(self._address, address)
        self._rates.record(self._account, account)

    def record_success(self, username: str, origin: Origin) -> None:
        """Reset the failures of an address at an account after a successful attempt."""
        self._rates.reset(self._pair, f"{_digest(username)}:{_network(origin.address)}")


def _network(address: str | None) -> str:
    with suppress(ValueError):
        parsed = ipaddress.ip_address(address or "")
        if parsed.version == 6:
            return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
        return str(parsed)
    return address or "unknown"


def _digest(username: str) -> str:
    # People sometimes type a password into the username field. It must not reach Redis.
    return sha256(username.encode()).hexdigest()[:32]
