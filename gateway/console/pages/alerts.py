"""Drift alerts with their steps, and the monthly reports, for operators."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from gateway.api import drift_alerts, reports
from gateway.console.form import Mistakes, fields, validated
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from gateway.quality.schemas.drift_alerts import DismissRequest
from gateway.web.middleware import REPORT_POLICY
from shared.errors import RayonError

PATH = "/alerts"
#: Alerts and reports of the page.
SHOWN = 50

router = APIRouter(prefix=CONSOLE, include_in_schema=False)


@router.get(PATH)
def show(visit: SignedVisit, done: str = "") -> Response:
    """Show the alerts, newest first, and the reports."""
    return _page(visit, done=done)


@router.post(f"{PATH}/{{alert_id}}")
def handle(
    visit: SignedVisit, alert_id: str, form: Annotated[FormData, Depends(fields("act", "reason"))]
) -> Response:
    """Start a training for an alert, or end the alert with a reason."""
    services, user, origin = visit.services, visit.user, visit.origin
    try:
        if form.get("act") == "train":
            drift_alerts.train(services, user, origin, alert_id)
            return visit.go(PATH, done="train")
        why = validated(DismissRequest, {"reason": str(form.get("reason", ""))})
        drift_alerts.dismiss(services, user, origin, alert_id, why)
    except RayonError as error:
        return _page(visit, error.status, mistakes=Mistakes.of(error), chosen=alert_id)
    return visit.go(PATH, done="dismiss")


@router.get("/reports/{month}")
def report(visit: SignedVisit, month: str) -> Response:
    """Return the page of a report, which runs nothing."""
    page = reports.show_report(visit.services, visit.user, month, "html")
    policy = REPORT_POLICY.decode()
    return HTMLResponse(page.body, headers={"Content-Security-Policy": policy})


def _page(visit: Visit, status_code: int = 200, **changes: Any) -> Response:
    services, user = visit.services, visit.user
    context: dict[str, Any] = {
        "alerts": drift_alerts.list_alerts(services, user, limit=SHOWN).items,
        "reports": reports.list_reports(services, user, limit=SHOWN).items,
        "mistakes": Mistakes(),
        "chosen": "",
        "done": "",
    }
    return visit.page("alerts.html", status_code, **{**context, **changes})
