"""Audit log, for admins."""

import json
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from gateway.api.parameters import Cursor, Limit
from gateway.api.services import ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.identity.schemas.audit_log import AuditEntryOut, AuditPage
from gateway.web.openapi import documented_headers
from shared.errors import InvalidInput

router = APIRouter(prefix="/v1/audit-log", tags=["accounts"])


@router.get("")
def list_entries(
    services: ServicesDep,
    _admin: SignedIn,
    actor: Annotated[
        str | None, Query(max_length=64, description="Username of the actor; all by default.")
    ] = None,
    action: Annotated[
        str | None,
        Query(max_length=64, description="Action, such as `user.create`; all by default."),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> AuditPage:
    """List entries of the audit log, newest first."""
    before = _number(cursor)
    with services.unit_of_work.reading() as session:
        found, following = audit_log.page(
            session, before=before, limit=limit, actor=actor, action=action
        )
        return AuditPage(
            items=[AuditEntryOut.model_validate(one, from_attributes=True) for one in found],
            next_cursor=None if following is None else str(following),
        )


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"headers": documented_headers("Content-Disposition")}},
)
def export(services: ServicesDep, _admin: SignedIn) -> StreamingResponse:
    """Export the whole audit log as JSON Lines, oldest entry first."""

    def lines() -> Iterator[str]:
        with services.unit_of_work.reading() as session:
            for entry in audit_log.entries(session):
                shown = AuditEntryOut.model_validate(entry, from_attributes=True)
                yield json.dumps(shown.model_dump(mode="json"), ensure_ascii=False) + "\n"

    headers = {"Content-Disposition": 'attachment; filename="audit-log.jsonl"'}
    return StreamingResponse(lines(), media_type="application/jsonl", headers=headers)


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InvalidInput(
            f"Expected a `next_cursor` of a previous page. Received: {cursor!r}", field=("cursor",)
        )
    return int(cursor)
