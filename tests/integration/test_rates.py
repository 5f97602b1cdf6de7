"""Rate limits of several gateways with one Redis."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from pydantic import SecretStr

from gateway.web.rates import Rate, Rates, shared_storage
from shared.errors import Limited
from shared.settings import BrokerSettings
from tests.support.servers import RedisServer, until


def gateway_rates(url: str) -> Rates:
    """Return the rate limits of one more gateway process."""
    return Rates(shared_storage(BrokerSettings(url=SecretStr(url))))


def test_two_gateways_share_one_limit_under_load(redis_url: str) -> None:
    gateways = [gateway_rates(redis_url), gateway_rates(redis_url)]
    rate = Rate("requests", 50, 60)
    start = threading.Barrier(8)

    def send_requests(number: int) -> int:
        start.wait(10)
        admitted = 0
        for _ in range(20):
            with suppress(Limited):
                gateways[number % 2].count(rate, "ada")
                admitted += 1
        return admitted

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(send_requests, range(8))) == 50


def test_guesses_at_once_are_counted_one_by_one_and_given_back(redis_url: str) -> None:
    gateways = [gateway_rates(redis_url), gateway_rates(redis_url)]
    rate = Rate("failed sign-ins", 10, 900)
    start = threading.Barrier(40)

    def guess(number: int) -> bool:
        start.wait(10)
        with suppress(Limited):
            gateways[number % 2].take(rate, "ada")
            return True
        return False

    with ThreadPoolExecutor(40) as pool:
        assert sum(pool.map(guess, range(40))) == 10
    gateways[0].give_back(rate, "ada")
    assert gateways[1].quota(rate, "ada").remaining == 1
    gateways[1].take(rate, "ada")
    with pytest.raises(Limited):
        gateways[0].take(rate, "ada")


def test_gateway_counts_alone_while_redis_is_down(redis_server: RedisServer) -> None:
    rates, rate = gateway_rates(redis_server.url), Rate("requests", 3, 60)
    assert rates.count(rate, "ada").remaining == 2
    redis_server.kill()
    # Without Redis the gateway counts alone, and the limit still applies.
    assert [rates.count(rate, "ada").remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(Limited):
        rates.count(rate, "ada")
    redis_server.start()
    other = gateway_rates(redis_server.url)

    def is_shared() -> bool:
        rates.reset(rate, "bob")
        rates.take(rate, "bob")
        return other.quota(rate, "bob").remaining == 2

    until(is_shared, 10, "the gateways count together again")
