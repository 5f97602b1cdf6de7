"""A request to the console: its visitor, its language, and the pages that respond to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import URL

from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn
from gateway.console.assets import assets
from gateway.console.languages import LANGUAGES, NAMES, language_of
from gateway.console.menu import menu_of
from gateway.console.rendering import render
from gateway.identity.browser_cookie import CONSOLE, read_cookie
from gateway.identity.principal import Origin, Principal
from shared.db.models import now
from shared.errors import Unauthenticated

#: The browser asks only this gateway, and runs nothing that a page contains.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    # The address of a page may hold a search; it goes to this host only. Browsers send no `Origin`
    # with a form of a page that sends no referrer.
    "Referrer-Policy": "same-origin",
    "Vary": "Cookie, Accept-Language",
}


@dataclass(frozen=True)
class Visit:
    """A request to the console. Its principal is `None` on pages that need no sign-in."""

    request: Request
    services: Services
    origin: Origin
    principal: Principal | None = None

    @property
    def language(self) -> str:
        """Language of the pages."""
        account = self.principal.language if self.principal else None
        return language_of(account, self.request.headers.get("accept-language", ""))

    @property
    def user(self) -> Principal:
        """The signed-in principal. Raises `Unauthenticated` on pages that need none."""
        if self.principal is None:
            raise Unauthenticated("Sign in first")
        return self.principal

    def url(self, path: str = "", **query: object) -> str:
        """Return the address of a page, such as `/try`, with a query without empty values."""
        base = URL(f"{self.request.scope.get('root_path', '')}{CONSOLE}{path}")
        shown = {name: str(value) for name, value in query.items() if value not in (None, "")}
        return str(base.include_query_params(**shown)) if shown else str(base)

    def page(self, template: str, status_code: int = 200, **context: Any) -> HTMLResponse:
        """Respond with a page."""
        return HTMLResponse(
            render(template, self.language, {**self._common(), **context}),
            status_code,
            dict(HEADERS),
        )

    def go(self, path: str = "", **query: object) -> RedirectResponse:
        """Redirect to a page after a form was handled."""
        return RedirectResponse(self.url(path, **query), 303)

    def _common(self) -> Mapping[str, Any]:
        """Return what all templates may use."""
        return {
            "asset": lambda name: self.url(f"/static/{assets().digest}/{name}"),
            "url": self.url,
            "language": self.language,
            "languages": [(code, NAMES[code]) for code in LANGUAGES],
            "principal": self.principal,
            "menu": menu_of(self.principal),
            "here": self.request.scope["path"].removeprefix(
                f"{self.request.scope.get('root_path', '')}{CONSOLE}"
            ),
            "query": self.request.query_params,
            "trace_id": self.request.state.trace_id,
            "now": now(),
        }


async def _visit(request: Request, services: ServicesDep, origin: OriginDep) -> Visit:
    return Visit(request, services, origin, await _known(request, services))


async def _signed_visit(
    request: Request, services: ServicesDep, origin: OriginDep, principal: SignedIn
) -> Visit:
    return Visit(request, services, origin, principal)


async def _known(request: Request, services: Services) -> Principal | None:
    """Return the visitor of a public page, if the browser is signed in."""
    cookie = read_cookie(request)
    if cookie is None:
        return None
    try:
        return await run_in_threadpool(services.sessions.browsers.principal, cookie)
    except Unauthenticated:
        return None


#: A visit of anybody, and of somebody whose role may see the page (`gateway.identity.permissions`).
PublicVisit = Annotated[Visit, Depends(_visit)]
SignedVisit = Annotated[Visit, Depends(_signed_visit)]
