"""Sign-in with an OpenID provider."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from gateway.api.parameters import located
from gateway.api.services import OriginDep, Services, ServicesDep
from gateway.identity.browser_cookie import CONSOLE, local_path, set_cookie
from gateway.identity.schemas.sessions import TokenPair
from gateway.identity.single_sign_on import SingleSignOn
from shared.errors import NotFound

PREFIX = "/v1/single-sign-on"
#: Key of the state of a sign-in that holds the path of the console to continue at.
_NEXT = "rayon_next"

router = APIRouter(prefix=PREFIX, tags=["sign in"])


@router.get("", status_code=302, response_class=Response, responses=located(302))
async def leave(
    services: ServicesDep,
    request: Request,
    continue_at: Annotated[
        str | None,
        Query(
            alias="next",
            description="Path of the console to continue at, signed in with a cookie. Omit it for "
            "tokens.",
        ),
    ] = None,
) -> Response:
    """Redirect to the OpenID provider. Open this path in a browser."""
    provider = _provider(services)
    request.session.pop(_NEXT, None)
    if continue_at is not None:
        request.session[_NEXT] = local_path(continue_at, CONSOLE)
    return await provider.leave(request)


@router.get("/callback", response_model=TokenPair)
async def come_back(
    services: ServicesDep, origin: OriginDep, request: Request
) -> TokenPair | Response:
    """Complete the sign-in after the provider has redirected back, and return tokens.

    A sign-in that began with `next` continues in the console instead.
    """
    provider = _provider(services)
    following = request.session.pop(_NEXT, None)
    claims = await provider.arrive(request)
    if following is None:
        return await run_in_threadpool(provider.sign_in, claims, origin)
    cookie = await run_in_threadpool(provider.sign_in_browser, claims, origin)
    response = RedirectResponse(f"{request.scope.get('root_path', '')}{following}", 303)
    set_cookie(response, request, cookie)
    return response


def _provider(services: Services) -> SingleSignOn:
    if services.single_sign_on is None:
        raise NotFound("Single sign-on is disabled: RAYON_SSO_ISSUER is not set")
    return services.single_sign_on
