"""Tests of the metrics of periodic tasks."""

from apscheduler.schedulers.blocking import BlockingScheduler
from prometheus_client import REGISTRY

from shared.schedule import every


def test_task_has_metrics_before_its_first_run() -> None:
    every(BlockingScheduler(timezone="UTC"), 3600, "of the scheduler", lambda: None)
    labels = {"task": "of the scheduler"}
    assert REGISTRY.get_sample_value("rayon_task_interval_seconds", labels) == 3600
    assert REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels)
    assert REGISTRY.get_sample_value("rayon_task_failures_total", labels) == 0
