"""What the monitor does by the clock, and on request beside it."""

from apscheduler.schedulers.background import BackgroundScheduler
from prometheus_client import REGISTRY

from trainer.monitoring import main as monitor


def test_task_is_missed_from_the_start_of_the_monitor_on() -> None:
    def of_the_monitor() -> None: ...

    monitor.every(BackgroundScheduler(timezone="UTC"), 900, of_the_monitor)
    labels = {"task": "of_the_monitor"}
    assert REGISTRY.get_sample_value("rayon_task_interval_seconds", labels) == 900
    assert REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels)
    assert REGISTRY.get_sample_value("rayon_task_failures_total", labels) == 0
