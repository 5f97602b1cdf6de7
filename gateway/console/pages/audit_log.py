"""The audit log, for admins: filters, verification and export."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway.api import audit_log
from gateway.console.visit import SignedVisit
from gateway.identity.browser_cookie import CONSOLE

PATH = "/audit-log"

router = APIRouter(prefix=f"{CONSOLE}{PATH}", include_in_schema=False)
Text = Annotated[str, Query(max_length=255)]


@router.get("")
def show(
    visit: SignedVisit,
    actor: Text = "",
    action: Text = "",
    target: Text = "",
    first: Text = "",
    last: Text = "",
    cursor: str | None = None,
    verify: str = "",
) -> Response:
    """List entries, newest first; with `verify`, check the hashes of all of them."""
    since, until = _day(first), _day(last)
    page = audit_log.list_entries(
        visit.services,
        visit.user,
        actor=actor.strip() or None,
        action=action.strip() or None,
        target=target.strip() or None,
        since=since,
        until=until and until + timedelta(days=1),
        cursor=cursor,
    )
    verification = audit_log.verify(visit.services, visit.user) if verify else None
    return visit.page(
        "audit_log.html",
        entries=page.items,
        following=page.next_cursor,
        wanted={
            "actor": actor,
            "action": action,
            "target": target,
            "first": first if since else "",
            "last": last if until else "",
        },
        verification=verification,
    )


@router.get("/export")
def export(visit: SignedVisit) -> Response:
    """Download the whole log."""
    return audit_log.export(visit.services, visit.user)


def _day(text: str) -> datetime | None:
    """Return the begin of a day in UTC; `None` if the text is no day."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        return None
