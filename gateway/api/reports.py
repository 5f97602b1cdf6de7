"""Monthly reports with a verdict."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import HTMLResponse

from gateway.api.parameters import Limit, located
from gateway.api.services import OriginDep, ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.quality import reports
from gateway.quality.schemas.reports import ReportList, ReportOut, ReportRequest, ReportSummary

PREFIX = "/v1/reports"

router = APIRouter(prefix=PREFIX, tags=["monitoring"])

_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}}
}


@router.get("")
def list_reports(
    services: ServicesDep,
    _operator: SignedIn,
    limit: Limit = 50,
) -> ReportList:
    """List reports with their verdicts, newest month first."""
    with services.unit_of_work.reading() as session:
        found = reports.newest(session, limit)
    return ReportList(
        items=[ReportSummary.model_validate(one, from_attributes=True) for one in found]
    )


@router.post("", status_code=202, responses=located(202))
def request_report(
    services: ServicesDep,
    operator: SignedIn,
    origin: OriginDep,
    wanted: ReportRequest,
    response: Response,
) -> ReportRequest:
    """Request the report of a past month, or of the current month so far.

    The monitor writes it in the background; until then, reading it responds with 404.
    """
    with services.unit_of_work() as work:
        reports.request(work, wanted.month, origin.trace_id)
        audit_log.record(
            work.session, origin, "report.request", actor=operator.username, target=wanted.month
        )
    response.headers["Location"] = f"{PREFIX}/{wanted.month}"
    return wanted


@router.get("/{month}", response_model=ReportOut, responses=_PAGE)
def show_report(
    services: ServicesDep,
    _operator: SignedIn,
    month: Annotated[str, Path(max_length=7, description="Month, such as `2026-11`.")],
    format: Annotated[  # noqa: A002 - the public name of the parameter
        Literal["json", "html"],
        Query(description="`json` for the figures, `html` for a self-contained page."),
    ] = "json",
) -> Any:
    """Return a report as JSON, or as a self-contained page with `format=html`."""
    with services.unit_of_work.reading() as session:
        report = reports.find(session, month)
    if format == "html":
        return HTMLResponse(report.page)
    return ReportOut.model_validate(report, from_attributes=True)
