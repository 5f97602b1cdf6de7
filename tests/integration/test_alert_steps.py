"""Nothing that was done about an alert is lost when two write at once, on both databases."""

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


def webhook(*alerts_: tuple[str, str]) -> AlertmanagerWebhook:
    """Webhook payload of Alertmanager: status and fingerprint of each alert."""
    labels = {"alertname": "F1Low"}
    sent = [
        {"status": status, "labels": labels, "fingerprint": fingerprint}
        for status, fingerprint in alerts_
    ]
    return AlertmanagerWebhook.model_validate({"version": "4", "alerts": sent})


def hear(unit_of_work: UnitOfWork, *alerts_: tuple[str, str]) -> list[str]:
    with unit_of_work() as work:
        return [one.id for one in drift_alerts.receive(work, webhook(*alerts_), TRACE)]


def texts(unit_of_work: UnitOfWork, alert_id: str) -> list[str]:
    with unit_of_work.reading() as session:
        return [step["text"] for step in session.get_one(DriftAlert, alert_id).steps]


def beside(
    unit_of_work: UnitOfWork,
    first: Callable[[Work], object],
    second: Callable[[], object],
    then: Callable[[Work], object] = lambda work: None,
) -> None:
    """Do the second between what the first transaction does, as far as the database lets it."""
    with ThreadPoolExecutor(1) as pool:
        with unit_of_work() as work:
            first(work)
            work.session.flush()
            done = pool.submit(second)
            if unit_of_work.engine.dialect.name == "postgresql":
                until(lambda: is_anyone_waiting(unit_of_work), SECONDS, "the second waits")
            then(work)
        done.result(SECONDS)


def is_anyone_waiting(unit_of_work: UnitOfWork) -> bool:
    with unit_of_work.reading() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def test_what_prometheus_no_longer_sees_leaves_the_decision_its_line(
    unit_of_work: UnitOfWork,
) -> None:
    (alert_id,) = hear(unit_of_work, ("firing", "c0ffee"))

    def decide(work: Work) -> None:
        alert = work.session.get_one(DriftAlert, alert_id, with_for_update=True)
        write_step(alert, "monitor", "Asked for a training")

    beside(unit_of_work, decide, lambda: hear(unit_of_work, ("resolved", "c0ffee")))
    assert texts(unit_of_work, alert_id) == [
        "Raised",
        "Asked for a training",
        "Resolved in Prometheus",
    ]


def test_what_is_decided_leaves_prometheus_its_line(unit_of_work: UnitOfWork) -> None:
    (alert_id,) = hear(unit_of_work, ("firing", "c0ffee"))
    response = AlertResponse(unit_of_work, MonitorSettings())

    def end(work: Work) -> None:
        drift_alerts.receive(work, webhook(("resolved", "c0ffee")), TRACE)

    beside(unit_of_work, end, lambda: response.decide(alert_id))
    raised, resolved, asked = texts(unit_of_work, alert_id)
    assert (raised, resolved) == ("Raised", "Resolved in Prometheus")
    assert asked.startswith("Requested a training")


def test_webhooks_that_name_the_same_alerts_in_another_order_do_not_deadlock(
    unit_of_work: UnitOfWork,
) -> None:
    ids = hear(unit_of_work, ("firing", "a"), ("firing", "b"))

    def resolve(fingerprint: str) -> Callable[[Work], object]:
        return lambda work: drift_alerts.receive(work, webhook(("resolved", fingerprint)), TRACE)

    beside(
        unit_of_work,
        resolve("a"),
        lambda: hear(unit_of_work, ("resolved", "b"), ("resolved", "a")),
        then=resolve("b"),
    )
    for alert_id in ids:
        assert texts(unit_of_work, alert_id).count("Resolved in Prometheus") == 2
