"""Limits on failed sign-ins, which slow down password guessing without locking owners out.

Three rates of failed attempts are limited: of one address at one account, of one address at all
accounts, and of all addresses at one account. The last one would let anybody lock an account by
failing to sign in to it, so an address from which the owner signed in recently is exempt from it.
A device on which the owner signed in before is exempt from all three, because many people may share
its address, and has a limit of its own.

An attempt is counted before its password is verified, and given back unless it was a guess. If
failures were counted afterwards, any number of guesses at once would be verified.

Sources: OWASP Authentication Cheat Sheet, and "device cookies" (OWASP, Slow Down Online Guessing
Attacks with Device Cookies).
"""

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from gateway.identity.principal import Origin
from gateway.settings import SignInLimitSettings
from gateway.web.rates import Rate, Rates
from shared.errors import InvalidInput, Limited, Unauthenticated

#: Prefix length of the smallest IPv6 network that a provider assigns to a customer.
IPV6_PREFIX = 64


@dataclass(frozen=True)
class Attempt:
    """An attempt to prove who one is with a password.

    Attributes:
        username: The claimed name, which may be a password typed in the wrong field.
        account: Keyed hash of the name, under which failures are counted.
        device: The id of a device on which the user signed in before, if it is one.
    """

    username: str
    account: str
    origin: Origin
    device: str | None = None


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
        self.known_days = settings.known_days
        seconds = settings.window_seconds
        self._pair = Rate("failed sign-ins", settings.of_address_at_account, seconds)
        self._address = Rate("failed sign-ins of this address", settings.of_address, seconds)
        self._account = Rate("failed sign-ins at this account", settings.at_account, seconds)
        self._device = Rate(
            "failed sign-ins of this device", settings.of_address_at_account, seconds
        )

    @contextmanager
    def counted(self, attempt: Attempt) -> Iterator[None]:
        """Count an attempt while its password is verified.

        It stays counted if the block raises `Unauthenticated` or `InvalidInput`, and otherwise uses
        up no limit. A success resets the failures of the address, or the device, at the account.

        Raises:
            Limited: A limit is reached. The error holds the time to wait, and is the same for
                unknown accounts.
        """
        taken = self._take(attempt)
        try:
            yield
        except (Unauthenticated, InvalidInput):
            raise
        except BaseException:
            self._give_back(taken)
            raise
        self._rates.reset(*taken[0])
        self._give_back(taken[1:])

    def _take(self, attempt: Attempt) -> list[tuple[Rate, str]]:
        """Count an attempt in each of its rates, or in none if one is used up."""
        taken: list[tuple[Rate, str]] = []
        try:
            for rate, key in self._rates_of(attempt):
                self._rates.take(rate, key)
                taken.append((rate, key))
        except Limited:
            if rate is not self._account or not self._is_exempt(attempt):
                self._give_back(taken)
                raise
        return taken

    def _rates_of(self, attempt: Attempt) -> list[tuple[Rate, str]]:
        if attempt.device is not None:
            return [(self._device, attempt.device)]
        address = _network(attempt.origin.address)
        return [
            (self._pair, f"{attempt.account}:{address}"),
            (self._address, address),
            (self._account, attempt.account),
        ]

    def _is_exempt(self, attempt: Attempt) -> bool:
        address = attempt.origin.address
        return bool(address) and self._is_known(attempt.username, str(address))

    def _give_back(self, taken: list[tuple[Rate, str]]) -> None:
        for rate, key in taken:
            self._rates.give_back(rate, key)


def _network(address: str | None) -> str:
    with suppress(ValueError):
        parsed = ipaddress.ip_address(address or "")
        if parsed.version == 6:
            return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
        return str(parsed)
    return address or "unknown"
