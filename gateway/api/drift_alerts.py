"""Drift alerts and the responses to them."""

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.api.parameters import AlertId, Cursor, Limit
from gateway.api.services import OriginDep, ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.quality import drift_alerts
from gateway.quality.schemas.drift_alerts import (
    AlertmanagerWebhook,
    DismissRequest,
    DriftAlertIn,
    DriftAlertList,
    DriftAlertOut,
    DriftWindowList,
    DriftWindowOut,
)
from shared.db.models import AlertStatus, DriftAlert

PREFIX = "/v1/drift-alerts"
WINDOWS = "/v1/drift-windows"

router = APIRouter(tags=["monitoring"])


@router.get(PREFIX)
def list_alerts(
    services: ServicesDep,
    _operator: SignedIn,
    status: Annotated[
        AlertStatus | None, Query(description="Status of the alerts; all by default.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> DriftAlertList:
    """List drift alerts, newest first."""
    with services.unit_of_work.reading() as session:
        found, following = drift_alerts.page(session, cursor, limit, status)
        return DriftAlertList(items=[_out(one) for one in found], next_cursor=following)


@router.post(PREFIX, status_code=202)
def raise_alerts(
    services: ServicesDep,
    operator: SignedIn,
    origin: OriginDep,
    seen: AlertmanagerWebhook | DriftAlertIn,
) -> DriftAlertList:
    """Raise drift alerts: the observation of a person, or a webhook request of Alertmanager.

    The monitor responds to an alert with a training run if the training budget allows it; `steps`
    records each decision. An alert that has not ended is not raised again.
    """
    with services.unit_of_work() as work:
        if isinstance(seen, AlertmanagerWebhook):
            raised = drift_alerts.receive(work, seen, origin.trace_id)
        else:
            raised = [drift_alerts.report(work, operator, seen, origin.trace_id)]
        for alert in raised:
            audit_log.record(
                work.session,
                origin,
                "drift_alert.raise",
                actor=operator.username,
                target=alert.id,
                kind=alert.kind,
            )
        return DriftAlertList(items=[_out(one) for one in raised])


@router.get(PREFIX + "/{alert_id}")
def show_alert(services: ServicesDep, _operator: SignedIn, alert_id: AlertId) -> DriftAlertOut:
    """Return a drift alert with its steps."""
    with services.unit_of_work.reading() as session:
        return _out(drift_alerts.find(session, alert_id))


@router.post(PREFIX + "/{alert_id}/train", status_code=202)
def train(
    services: ServicesDep, operator: SignedIn, origin: OriginDep, alert_id: AlertId
) -> DriftAlertOut:
    """Start a training run for an alert, regardless of the training budget."""
    with services.unit_of_work() as work:
        alert = drift_alerts.allow(work, operator, alert_id, origin.trace_id)
        audit_log.record(
            work.session, origin, "drift_alert.allow", actor=operator.username, target=alert_id
        )
    return _out(alert)


@router.post(PREFIX + "/{alert_id}/dismiss")
def dismiss(
    services: ServicesDep,
    operator: SignedIn,
    origin: OriginDep,
    alert_id: AlertId,
    request: DismissRequest,
) -> DriftAlertOut:
    """End an alert without a training run."""
    with services.unit_of_work() as work:
        alert = drift_alerts.dismiss(work.session, operator, alert_id, request.reason)
        audit_log.record(
            work.session,
            origin,
            "drift_alert.dismiss",
            actor=operator.username,
            target=alert_id,
            reason=request.reason,
        )
    return _out(alert)


@router.get(WINDOWS)
def list_windows(
    services: ServicesDep,
    _operator: SignedIn,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> DriftWindowList:
    """List drift measurements by window of consecutive answers, newest first."""
    with services.unit_of_work.reading() as session:
        found, following = drift_alerts.windows(session, cursor, limit)
        return DriftWindowList(
            items=[DriftWindowOut.model_validate(one, from_attributes=True) for one in found],
            next_cursor=following,
        )


def _out(alert: DriftAlert) -> DriftAlertOut:
    return DriftAlertOut.model_validate(alert, from_attributes=True)
