"""Metrics: every declared one is set, and gauges drop outdated series."""

import re
import time
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from shared import metrics

PROJECT = Path(metrics.__file__).resolve().parents[1]
SERVICES = ("gateway", "worker_text", "worker_image", "worker_fusion", "trainer", "shared")
DECLARED = {
    name: value
    for name, value in vars(metrics).items()
    if isinstance(value, Counter | Gauge | Histogram)
}


def sources() -> str:
    files = (path for service in SERVICES for path in (PROJECT / service).rglob("*.py"))
    return "\n".join(path.read_text() for path in files if path != Path(metrics.__file__))


@pytest.mark.parametrize("name", DECLARED)
def test_every_declared_metric_is_set_by_a_service(name: str) -> None:
    is_own = re.search(rf"^ +{name}\.", Path(metrics.__file__).read_text(), re.MULTILINE)
    assert is_own or re.search(rf"\bmetrics\.{name}\b", sources()), f"No service sets {name}"


def test_every_metric_name_starts_with_rayon() -> None:
    names = [next(iter(metric.describe())).name for metric in DECLARED.values()]
    assert all(name.startswith("rayon_") for name in names)
    assert len(set(names)) == len(names) > 40


def test_every_gauge_has_a_label() -> None:
    without = [
        name
        for name, metric in DECLARED.items()
        if isinstance(metric, Gauge) and not metric._labelnames
    ]
    assert without == [], "Every process would export an unlabelled gauge as 0"


def test_gauge_has_exactly_the_shown_series() -> None:
    metrics.show(metrics.drift_effect, {("text", "1"): 0.5, ("image", "1"): 0.25})
    metrics.show(metrics.drift_effect, {("text", "2"): 0.75})
    assert REGISTRY.get_sample_value("rayon_drift_effect", {"kind": "text", "release": "2"}) == 0.75
    assert len(next(iter(metrics.drift_effect.collect())).samples) == 1
    metrics.show(metrics.drift_effect, {})
    assert next(iter(metrics.drift_effect.collect())).samples == []


def test_watched_task_records_success_time_and_failures() -> None:
    labels = {"task": "task_watched"}
    with metrics.watched("task_watched"):
        pass
    first = REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels)
    with pytest.raises(ValueError, match="broken"), metrics.watched("task_watched"):
        raise ValueError("broken")
    assert REGISTRY.get_sample_value("rayon_task_failures_total", labels) == 1
    assert REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels) == first


def test_expected_task_shows_its_interval_before_the_first_success() -> None:
    labels = {"task": "task_registered"}
    before = time.time()
    metrics.expect("task_registered", 900)
    since = REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels)
    assert since is not None
    assert before <= since <= time.time()
    assert REGISTRY.get_sample_value("rayon_task_interval_seconds", labels) == 900
    # Prometheus sees no increase in a counter that first appears as 1.
    assert REGISTRY.get_sample_value("rayon_task_failures_total", labels) == 0
