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


def wait_metric(part: str) -> float:
    labels = {"topic": "score_text"}
    return REGISTRY.get_sample_value(f"rayon_message_wait_seconds_{part}", labels) or 0.0


def deliver(headers: dict[str, Any] | None) -> None:
    """Deliver a message with the given Celery headers."""
    request = SimpleNamespace(id="1", delivery_info={}, headers=headers)
    Broker(BrokerSettings())._deliver(request, MESSAGE, lambda _: None)


def test_wait_is_measured_from_publishing_to_delivery() -> None:
    count, total = wait_metric("count"), wait_metric("sum")
    deliver({"published_at": time.time() - 5})
    assert wait_metric("count") == count + 1
    assert wait_metric("sum") == pytest.approx(total + 5, abs=1)


def test_clock_skew_causes_no_negative_wait() -> None:
    total = wait_metric("sum")
    deliver({"published_at": time.time() + 60})
    assert wait_metric("sum") == total


@pytest.mark.parametrize("headers", [None, {}])
def test_message_without_the_header_is_not_measured(
    headers: dict[str, Any] | None,
) -> None:
    count = wait_metric("count")
    deliver(headers)
    assert wait_metric("count") == count


def test_failure_counter_of_a_topic_starts_at_zero() -> None:
    Broker(BrokerSettings()).subscribe(ScoreText, lambda _: None)
    found = REGISTRY.get_sample_value("rayon_messages_failed_total", {"topic": "score_text"})
    assert found is not None
