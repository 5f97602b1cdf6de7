"""Waiting time of a message, read from its header."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from shared.broker import Broker
from shared.contracts import Lane, ScoreText
from shared.settings import BrokerSettings

MESSAGE = ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=())


def waited(part: str) -> float:
    labels = {"topic": "score_text"}
    return REGISTRY.get_sample_value(f"rayon_message_wait_seconds_{part}", labels) or 0.0


def take(headers: dict[str, Any] | None) -> None:
    """Handle a message as Celery hands it over."""
    request = SimpleNamespace(id="1", delivery_info={}, headers=headers)
    Broker(BrokerSettings())._deliver(request, MESSAGE, lambda _: None)


def test_wait_is_measured_from_sending_to_taking() -> None:
    count, total = waited("count"), waited("sum")
    take({"published_at": time.time() - 5})
    assert waited("count") == count + 1
    assert waited("sum") == pytest.approx(total + 5, abs=1)


def test_clocks_that_differ_make_no_negative_wait() -> None:
    total = waited("sum")
    take({"published_at": time.time() + 60})
    assert waited("sum") == total


@pytest.mark.parametrize("headers", [None, {}])
def test_message_without_the_header_is_handled_and_not_measured(
    headers: dict[str, Any] | None,
) -> None:
    count = waited("count")
    take(headers)
    assert waited("count") == count


def test_failures_of_a_contract_are_counted_from_nought() -> None:
    Broker(BrokerSettings()).subscribe(ScoreText, lambda _: None)
    found = REGISTRY.get_sample_value("rayon_messages_failed_total", {"topic": "score_text"})
    assert found is not None
