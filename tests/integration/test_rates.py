"""Rates of several gateways behind one Redis."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from pydantic import SecretStr

from gateway.web import rates as rates_module
from gateway.web.rates import Rate, Rates, shared_storage
from shared.errors import Limited
from shared.settings import BrokerSettings
from tests.support.servers import RedisServer


def of_gateway(url: str) -> Rates:
    """Rate limits of another gateway process."""
    return Rates(shared_storage(BrokerSettings(url=SecretStr(url))))


def test_limits_of_two_gateways_hold_together_under_load(redis_url: str) -> None:
    gateways = [of_gateway(redis_url), of_gateway(redis_url)]
    rate = Rate("requests", 50, 60)
    start = threading.Barrier(8)

    def ask(number: int) -> int:
        start.wait(10)
        taken = 0
        for _ in range(20):
            with suppress(Limited):
                gateways[number % 2].count(rate, "ada")
                taken += 1
        return taken

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 50


def test_redis_that_goes_and_comes_back(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates_module, "PAUSE_SECONDS", 0.0)
    rates, rate = of_gateway(redis_server.url), Rate("requests", 3, 60)
    assert rates.count(rate, "ada").remaining == 2
    redis_server.kill()
    # Counted alone, and still limited.
    assert [rates.count(rate, "ada").remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(Limited):
        rates.count(rate, "ada")
    redis_server.start()
    rates.count(rate, "bob")
    assert of_gateway(redis_server.url).quota(rate, "bob").remaining == 2
