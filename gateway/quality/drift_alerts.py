"""Drift alerts: raise, list, approve for training, or dismiss."""

from collections.abc import Sequence
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.identity.principal import Principal
from gateway.quality.schemas.drift_alerts import (
    AlertmanagerAlert,
    AlertmanagerWebhook,
    DriftAlertIn,
)
from gateway.web.paging import paginate
from shared.contracts import DriftDetected
from shared.db.models import AlertStatus, DriftAlert, DriftWindow, now
from shared.db.session import Work, take_turns
from shared.errors import Conflict, NotFound
from shared.lifecycle.alerts import raise_alert, write_step

ALERTMANAGER = "alertmanager"


def report(work: Work, principal: Principal, seen: DriftAlertIn, trace_id: str) -> DriftAlert:
    """Raise an alert that a person reports.

    Raises:
        Conflict: An alert of the same kind and release has not ended.
    """
    fingerprint = f"person:{seen.kind}:{seen.release or ''}"
    alert = raise_alert(
        work,
        source="person",
        raised_by=principal.username,
        kind=seen.kind,
        release=seen.release,
        summary=seen.summary,
        details={},
        trace_id=trace_id,
        fingerprint=_digest(fingerprint),
    )
    if alert is None:
        known = _unfinished(work.session, _digest(fingerprint))
        raise Conflict(f"The alert {known.id if known else ''} of the same kind has not ended")
    return alert


def receive(work: Work, webhook: AlertmanagerWebhook, trace_id: str) -> list[DriftAlert]:
    """Raise the alerts of a webhook; one that Alertmanager repeats is not raised again."""
    # Two transactions that lock the same alerts in different orders would deadlock. The lock is the
    # one that `raise_alert` takes, so that no transaction waits for it while it holds a row.
    take_turns(work.session, DriftAlert.__tablename__)
    return [
        alert for sent in webhook.alerts if (alert := _receive(work, sent, trace_id)) is not None
    ]


def _receive(work: Work, sent: AlertmanagerAlert, trace_id: str) -> DriftAlert | None:
    name = sent.labels.get("alertname", "alert")
    fingerprint = _digest(f"{ALERTMANAGER}:{sent.fingerprint}")
    if sent.status == "resolved":
        known = _unfinished(work.session, fingerprint)
        if known is not None:
            write_step(known, ALERTMANAGER, "Resolved in Prometheus")
        return known
    return raise_alert(
        work,
        source=ALERTMANAGER,
        raised_by=ALERTMANAGER,
        kind=name[:32],
        release=sent.labels.get("release", "")[:32] or None,
        summary=sent.annotations.get("summary", name)[:500],
        details={"labels": sent.labels, "annotations": sent.annotations},
        trace_id=trace_id,
        fingerprint=fingerprint,
    )


def find(session: Session, alert_id: str, *, lock: bool = False) -> DriftAlert:
    """Return an alert, locked on request. Raises `NotFound`."""
    alert = session.get(DriftAlert, alert_id, with_for_update=lock)
    if alert is None:
        raise NotFound(f"No drift alert {alert_id!r}")
    return alert


def page(
    session: Session, cursor: str | None, limit: int, status: AlertStatus | None
) -> tuple[Sequence[DriftAlert], str | None]:
    """Return a page of alerts, newest first, and the cursor of the next page.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    query = select(DriftAlert)
    if status is not None:
        query = query.where(DriftAlert.status == status.value)
    return paginate(session, query, DriftAlert.id, cursor, limit)


def windows(
    session: Session, cursor: str | None, limit: int
) -> tuple[Sequence[DriftWindow], str | None]:
    """Return a page of drift windows, newest first, and the cursor of the next page.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    return paginate(session, select(DriftWindow), DriftWindow.id, cursor, limit)


def allow(work: Work, principal: Principal, alert_id: str, trace_id: str) -> DriftAlert:
    """Approve a training for an alert, even beyond the training budget.

    Raises:
        NotFound: There is no such alert.
        Conflict: The alert has ended, or its training is running.
    """
    alert = find(work.session, alert_id, lock=True)
    if alert.status not in (AlertStatus.OPEN.value, AlertStatus.ASKING.value):
        raise Conflict(f"Expected an alert that is open or asking. Received: {alert.status}")
    alert.status = AlertStatus.OPEN.value
    alert.details = {**alert.details, "allowed_by": principal.username}
    write_step(alert, principal.username, "Allowed a training")
    work.publish(DriftDetected(trace_id=trace_id, alert_id=alert.id))
    return alert


def dismiss(session: Session, principal: Principal, alert_id: str, reason: str) -> DriftAlert:
    """End an alert without a training; a training that is running continues.

    Raises:
        NotFound: There is no such alert.
        Conflict: The alert has ended.
    """
    alert = find(session, alert_id, lock=True)
    if alert.ended_at is not None:
        raise Conflict("The alert has ended")
    alert.status, alert.ended_at = AlertStatus.ENDED.value, now()
    write_step(alert, principal.username, f"Dismissed: {reason}")
    return alert


def _unfinished(session: Session, fingerprint: str) -> DriftAlert | None:
    """Return the alert that has not ended, locked because its steps are rewritten as a whole."""
    return session.scalar(
        select(DriftAlert)
        .where(DriftAlert.fingerprint == fingerprint, DriftAlert.ended_at.is_(None))
        .with_for_update()
    )


def _digest(fingerprint: str) -> str:
    """Shorten a fingerprint to the length of its column."""
    return sha256(fingerprint.encode()).hexdigest()
