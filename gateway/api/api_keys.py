"""API keys for programs, managed by their owners."""

from fastapi import APIRouter, Response

from gateway.api.parameters import KeyId, located
from gateway.api.services import OriginDep, ServicesDep, SignedIn
from gateway.identity import api_keys, audit_log
from gateway.identity.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyList, ApiKeyOut

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"])


@router.get("")
def list_api_keys(services: ServicesDep, principal: SignedIn) -> ApiKeyList:
    """List your API keys, newest first."""
    with services.unit_of_work.reading() as session:
        return ApiKeyList.of(api_keys.keys_of(session, principal.id))


@router.post("", status_code=201, responses=located(201))
def create_api_key(
    services: ServicesDep,
    principal: SignedIn,
    origin: OriginDep,
    wanted: ApiKeyCreate,
    response: Response,
) -> ApiKeyCreated:
    """Create an API key with a subset of your permissions.

    The response holds the key, which is not shown again. At most 50 keys per account.
    """
    with services.unit_of_work() as work:
        row, key = api_keys.create(
            work.session,
            principal,
            name=wanted.name,
            scopes=wanted.scopes,
            expires_at=wanted.expires_at,
        )
        audit_log.record(
            work.session,
            origin,
            "api_key.create",
            actor=principal.username,
            target=row.prefix,
            scopes=row.scopes,
        )
    response.headers["Location"] = f"/v1/api-keys/{row.id}"
    shown = ApiKeyOut.model_validate(row, from_attributes=True)
    return ApiKeyCreated(**shown.model_dump(), key=key)


@router.delete("/{key_id}", status_code=204)
def revoke_api_key(
    services: ServicesDep, principal: SignedIn, origin: OriginDep, key_id: KeyId
) -> Response:
    """Revoke an API key. Requests with it are refused at once."""
    with services.unit_of_work() as work:
        row = api_keys.revoke(work.session, principal.id, key_id)
        audit_log.record(
            work.session, origin, "api_key.revoke", actor=principal.username, target=row.prefix
        )
    return Response(status_code=204)
