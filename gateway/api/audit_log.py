"""Audit log, for admins."""

import json
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from gateway.api.parameters import Cursor, Limit
from gateway.api.services import ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.identity.schemas.audit_log import AuditEntryOut, AuditPage, AuditVerification
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
    target: Annotated[
        str | None,
        Query(max_length=255, description="Name or ID of the changed object; all by default."),
    ] = None,
    since: Annotated[
        AwareDatetime | None, Query(description="Time of the oldest entry; all by default.")
    ] = None,
    until: Annotated[
        AwareDatetime | None,
        Query(description="Time before which the newest entry was made; all by default."),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> AuditPage:
    """List entries of the audit log, newest first."""
    before = _number(cursor)
    wanted = audit_log.Wanted(actor, action, target, since, until)
    with services.unit_of_work.reading() as session:
        found, following = audit_log.page(session, before=before, limit=limit, wanted=wanted)
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


@router.get("/verification")
def verify(services: ServicesDep, _admin: SignedIn) -> AuditVerification:
    """Verify the hashes of the whole audit log.

    Entries removed from the end are detected only by an earlier `last_hash` that was stored
    elsewhere: `python -m gateway.audit verify --last HASH`.
    """
    with services.unit_of_work.reading() as session:
        return AuditVerification.model_validate(audit_log.verify(session), from_attributes=True)


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InvalidInput(
            f"Expected a `next_cursor` of a previous page. Received: {cursor!r}", field=("cursor",)
        )
    return int(cursor)
