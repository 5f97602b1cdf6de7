"""Sign-in with an OpenID provider."""

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from gateway.api.parameters import located
from gateway.api.services import OriginDep, Services, ServicesDep
from gateway.identity.schemas.sessions import TokenPair
from gateway.identity.single_sign_on import SingleSignOn
from shared.errors import NotFound

PREFIX = "/v1/single-sign-on"

router = APIRouter(prefix=PREFIX, tags=["sign in"])


@router.get("", status_code=302, response_class=Response, responses=located(302))
async def leave(services: ServicesDep, request: Request) -> Response:
    """Redirect to the OpenID provider. Open this path in a browser."""
    return await _provider(services).leave(request)


@router.get("/callback")
async def come_back(services: ServicesDep, origin: OriginDep, request: Request) -> TokenPair:
    """Complete the sign-in after the provider has redirected back, and return tokens."""
    provider = _provider(services)
    claims = await provider.arrive(request)
    return await run_in_threadpool(provider.sign_in, claims, origin)


def _provider(services: Services) -> SingleSignOn:
    if services.single_sign_on is None:
        raise NotFound("Single sign-on is disabled: RAYON_SSO_ISSUER is not set")
    return services.single_sign_on
