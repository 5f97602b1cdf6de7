"""No step of an alert is lost if two transactions write at once, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from gateway.quality import drift_alerts
from gateway.quality.schemas.drift_alerts import AlertmanagerWebhook
from shared.db.models import DriftAlert
from shared.db.session import UnitOfWork, Work
from shared.lifecycle.alerts import write_step
from tests.support.servers import until
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.settings import MonitorSettings

TRACE = "0" * 32
SECONDS = 20.0


def webhook(*alerts: tuple[str, str]) -> AlertmanagerWebhook:
    """Return a webhook payload of Alertmanager with the status and fingerprint of each alert."""
    labels = {"alertname": "F1Low"}
    sent = [
        {"status": status, "labels": labels, "fingerprint": fingerprint}
        for status, fingerprint in alerts
    ]
    return AlertmanagerWebhook.model_validate({"version": "4", "alerts": sent})


def receive(unit_of_work: UnitOfWork, *alerts: tuple[str, str]) -> list[str]:
    with unit_of_work() as work:
        return [alert.id for alert in drift_alerts.receive(work, webhook(*alerts), TRACE)]


def texts(unit_of_work: UnitOfWork, alert_id: str) -> list[str]:
    with unit_of_work.reading() as session:
        return [step["text"] for step in session.get_one(DriftAlert, alert_id).steps]


def run_concurrently(
    unit_of_work: UnitOfWork,
    first: Callable[[Work], object],
    second: Callable[[], object],
    then: Callable[[Work], object] = lambda work: None,
) -> None:
    """Run `second` concurrently with a transaction of `first` and `then`.

    PostgreSQL lets `second` start and block on a lock; SQLite admits one writer at a time.
    """
    with ThreadPoolExecutor(1) as pool:
        with unit_of_work() as work:
            first(work)
            work.session.flush()
            done = pool.submit(second)
            if unit_of_work.engine.dialect.name == "postgresql":
                until(
                    lambda: is_lock_awaited(unit_of_work),
                    SECONDS,
                    "the second transaction waits for a lock",
                )
            then(work)
        done.result(SECONDS)


def is_lock_awaited(unit_of_work: UnitOfWork) -> bool:
    with unit_of_work.reading() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def test_resolved_alert_keeps_the_step_of_a_concurrent_decision(
    unit_of_work: UnitOfWork,
) -> None:
    (alert_id,) = receive(unit_of_work, ("firing", "c0ffee"))

    def decide(work: Work) -> None:
        alert = work.session.get_one(DriftAlert, alert_id, with_for_update=True)
        write_step(alert, "monitor", "Requested a training")

    run_concurrently(unit_of_work, decide, lambda: receive(unit_of_work, ("resolved", "c0ffee")))
    assert texts(unit_of_work, alert_id) == [
        "Raised",
        "Requested a training",
        "Resolved in Prometheus",
    ]


def test_decision_keeps_the_step_of_a_concurrently_resolved_alert(unit_of_work: UnitOfWork) -> None:
    (alert_id,) = receive(unit_of_work, ("firing", "c0ffee"))
    response = AlertResponse(unit_of_work, MonitorSettings())

    def resolve(work: Work) -> None:
        drift_alerts.receive(work, webhook(("resolved", "c0ffee")), TRACE)

    run_concurrently(unit_of_work, resolve, lambda: response.decide(alert_id))
    raised, resolved, requested = texts(unit_of_work, alert_id)
    assert (raised, resolved) == ("Raised", "Resolved in Prometheus")
    assert requested.startswith("Requested a training")


def test_webhooks_with_the_same_alerts_in_different_order_do_not_deadlock(
    unit_of_work: UnitOfWork,
) -> None:
    ids = receive(unit_of_work, ("firing", "a"), ("firing", "b"))

    def resolve(fingerprint: str) -> Callable[[Work], object]:
        return lambda work: drift_alerts.receive(work, webhook(("resolved", fingerprint)), TRACE)

    run_concurrently(
        unit_of_work,
        resolve("a"),
        lambda: receive(unit_of_work, ("resolved", "b"), ("resolved", "a")),
        then=resolve("b"),
    )
    for alert_id in ids:
        assert texts(unit_of_work, alert_id).count("Resolved in Prometheus") == 2
