"""Slows down those who guess passwords, without a way to lock somebody out from outside.

Three rates, of attempts that failed: of an address at an account, of an address at all accounts,
of all addresses at an account. The last one would let anybody lock an account by guessing at it;
so an address from which its owner has signed in lately is exempt from it. Source: OWASP
Authentication Cheat Sheet, and "device cookies" (OWASP, Slow Down Online Guessing Attacks).
"""

import ipaddress
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

from gateway.identity.principal import Origin
from gateway.settings import SignInLimitSettings
from gateway.web.rates import Rate, Rates
from shared.errors import Limited

#: Bits of an IPv6 address that one customer of a provider has at least.
IPV6_PREFIX = 64


class SignInLimits:
    """Counts failed attempts to sign in.

    Args:
        rates: Counts.
        settings: How many are too many.
        is_known: Whether an account's owner has signed in from an address lately.
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

    def require_patience(self, username: str, origin: Origin) -> None:
        """Refuse an attempt that comes too soon, before the password is looked at.

        Raises:
            Limited: With the time to wait. It is the same whether the account exists or not.
        """
        address, account = _network(origin.address), _digest(username)
        self._rates.require(self._pair, f"{account}:{address}")
        self._rates.require(self._address, address)
        try:
            self._rates.require(self._account, account)
        except Limited:
            if not (origin.address and self._is_known(username, origin.address)):
                raise

    def failed(self, username: str, origin: Origin) -> None:
        """Count an attempt that failed."""
        address, account = _network(origin.address), _digest(username)
        self._rates.note(self._pair, f"{account}:{address}")
        self._rates.note(self._address, address)
        self._rates.note(self._account, account)

    def succeeded(self, username: str, origin: Origin) -> None:
        """Forget the slips of somebody who knew the password after all."""
        self._rates.forget(self._pair, f"{_digest(username)}:{_network(origin.address)}")


def _network(address: str | None) -> str:
    with suppress(ValueError):
        found = ipaddress.ip_address(address or "")
        if found.version == 6:
            return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
        return str(found)
    return address or "unknown"


def _digest(username: str) -> str:
    # People type passwords into the field of the name; Redis need not know them.
    return sha256(username.encode()).hexdigest()[:32]
