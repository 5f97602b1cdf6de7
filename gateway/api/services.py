"""Dependencies of the routes: services, and the authenticated principal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from gateway.catalogs.output.results import Results
from gateway.catalogs.service import Catalogs
from gateway.identity import api_keys, permissions
from gateway.identity.browser_cookie import CONSOLE, read_cookie
from gateway.identity.principal import Origin, Principal
from gateway.identity.sessions import Sessions
from gateway.identity.single_sign_on import SingleSignOn
from gateway.jobs.explanations import Explanations
from gateway.jobs.grouped_calls import GroupedCalls
from gateway.jobs.long_poll import LongPolls
from gateway.jobs.quotas import Quotas
from gateway.jobs.submission import Jobs
from gateway.jobs.submitting import Submitting
from gateway.jobs.thumbnails import Thumbnails
from gateway.operations.readiness import ReadinessProbe
from gateway.quality.labels import LabelFiles
from gateway.releases.champion_watch import ChampionWatch
from gateway.releases.datasets import Datasets
from gateway.settings import GatewaySettings, RateSettings
from gateway.web.disk_space import DiskSpace
from gateway.web.draining import Draining
from gateway.web.heavy_work import HeavyWork
from gateway.web.rates import Rate, Rates
from shared.broker import Broker
from shared.db.session import UnitOfWork
from shared.errors import Unauthenticated
from shared.inference.releases.registry import Releases
from shared.storage import Storage

#: Concurrent requests that are answered together, at most.
MOST_TOGETHER = 32
Sent = TypeVar("Sent")
Result = TypeVar("Result")
_BEARER = OAuth2PasswordBearer(
    tokenUrl="/v1/token",
    auto_error=False,
    description="Access token of `POST /v1/token`, sent as `Authorization: Bearer …`.",
)
_API_KEY = APIKeyHeader(
    name="X-API-Key", auto_error=False, description="API key of `POST /v1/api-keys`."
)


@dataclass(frozen=True)
class _SignIn:
    """A request to authenticate, by its access token, or by its API key if it has no token."""

    request: Request
    token: str | None
    api_key: str


#: Schemes by which a program signs in, for OpenAPI.
SECURITY_SCHEMES = (_BEARER, _API_KEY)


@dataclass(frozen=True)
class Services:
    """All services that the routes use. `gateway.main` builds them."""

    settings: GatewaySettings
    unit_of_work: UnitOfWork
    broker: Broker
    releases: Releases
    champion: ChampionWatch
    rates: Rates
    rate_settings: RateSettings
    quotas: Quotas
    sessions: Sessions
    #: `None` without an OpenID provider.
    single_sign_on: SingleSignOn | None
    jobs: Jobs
    catalogs: Catalogs
    results: Results
    labels: LabelFiles
    datasets: Datasets
    storage: Storage
    long_polls: LongPolls
    explanations: Explanations
    draining: Draining = field(default_factory=Draining)
    heavy_work: HeavyWork = field(default_factory=HeavyWork)
    readiness: ReadinessProbe = field(default_factory=ReadinessProbe)
    submitting: Submitting = field(default_factory=Submitting)
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    _groups: dict[object, GroupedCalls[Any, Any]] = field(default_factory=dict)

    def grouped(
        self, answer: "Callable[[Services, Sequence[Sent]], Sequence[Result | Exception]]"
    ) -> GroupedCalls[Sent, Result]:
        """Return the grouped calls of a function, which answers concurrent requests together."""
        if answer not in self._groups:
            self._groups[answer] = GroupedCalls(partial(answer, self), most=MOST_TOGETHER)
        return self._groups[answer]

    def release_waiting(self) -> None:
        """Respond to all clients that wait, before the process ends. Safe in a signal handler."""
        self.long_polls.close()
        self.explanations.polls.close()

    def require_space(self, principal: Principal, size: int) -> None:
        """Check that an upload of some bytes fits on the disks and in the user's quota.

        Raises:
            Limited: The user's files would exceed the quota of stored bytes.
            Unavailable: A disk would be almost full, or the database does not answer.
        """
        DiskSpace(self.storage).require(size)
        self.quotas.require_bytes(principal, size)


def announced_bytes(request: Request, largest: int) -> int:
    """Return the announced size of an upload; the largest allowed one if it has none."""
    return int(request.headers.get("content-length") or largest)


async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]


async def authenticate_first(scope: Scope) -> None:
    """Authenticate a request before its body is read, if its route needs a principal.

    Raises:
        Unauthenticated: The token or API key is missing, invalid or expired.
        Forbidden: The principal may not call the route.
        Limited: The principal has used up a rate.
    """
    route = scope.get("route")
    if isinstance(route, APIRoute) and permissions.needs_principal(scope["method"], route.path):
        await authenticated(Request(scope))


async def authenticated(request: Request) -> Principal:
    """Return the principal of a request, which is looked up and counted once.

    The security schemes are documented by `gateway.web.openapi`: FastAPI would resolve them as
    dependencies of each request.

    Raises:
        Unauthenticated: The token or API key is missing, invalid or expired.
        Forbidden: The principal may not call the route.
        Limited: The principal has used up a rate.
    """
    if not hasattr(request.state, "principal"):
        services: Services = request.app.state.services
        if request.scope["route"].path.startswith(CONSOLE):
            request.state.principal = await run_in_threadpool(_of_browser, services, request)
        else:
            request.state.principal = await _of_program(services, request)
    return cast(Principal, request.state.principal)


def _of_browser(services: Services, request: Request) -> Principal:
    principal = services.sessions.browsers.principal(read_cookie(request) or "")
    return _admitted(services, request, principal)


async def _of_program(services: Services, request: Request) -> Principal:
    token, api_key = await _BEARER(request), await _API_KEY(request)
    # Alertmanager can send no other header than a bearer token, so an API key is accepted as one.
    if token is not None and token.startswith(api_keys.PREFIX):
        api_key, token = token, None
    if token is None and api_key is None:
        raise Unauthenticated(
            "Expected an access token, `Authorization: Bearer …`, or an API key, `X-API-Key: …`"
        )
    principal = await services.grouped(_look_up).of(_SignIn(request, token, api_key or ""))
    if principal.is_use_due and principal.key_id is not None:
        await run_in_threadpool(api_keys.record_use, services.unit_of_work, principal.key_id)
    return principal


def _look_up(services: Services, sign_ins: Sequence[_SignIn]) -> list[Principal | Exception]:
    """Look up the principals of requests and count the requests, with a query for each kind."""
    tokens = [one.token for one in sign_ins if one.token is not None]
    keys = [one.api_key for one in sign_ins if one.token is None]
    of_tokens = iter(services.sessions.principals(tokens) if tokens else ())
    of_keys = iter(api_keys.principals_of(services.unit_of_work, keys) if keys else ())
    found = [next(of_keys if one.token is None else of_tokens) for one in sign_ins]
    return [
        _admitted_or_error(services, one.request, principal)
        for one, principal in zip(sign_ins, found, strict=True)
    ]


def _admitted_or_error(
    services: Services, request: Request, found: Principal | Unauthenticated
) -> Principal | Exception:
    if isinstance(found, Unauthenticated):
        return found
    try:
        return _admitted(services, request, found)
    except Exception as error:
        return error


def _admitted(services: Services, request: Request, principal: Principal) -> Principal:
    permissions.require(principal, request.method, request.scope["route"].path)
    request.state.headers = _count(services, principal)
    return principal


def _count(services: Services, principal: Principal) -> dict[str, str]:
    rate = Rate("requests", services.rate_settings.requests_per_minute, 60)
    quota = services.rates.count(rate, f"user:{principal.id}")
    if principal.key_id is not None:
        of_key = services.rates.count(rate, f"key:{principal.key_id}")
        quota = min(quota, of_key, key=lambda one: one.remaining)
    return quota.headers


async def _origin(request: Request) -> Origin:
    agent = request.headers.get("user-agent")
    return Origin(
        address=request.client.host[:64] if request.client else None,
        agent=agent[:255] if agent else None,
        trace_id=request.state.trace_id,
    )


#: Principal with permission to call the route (`gateway.identity.permissions`).
SignedIn = Annotated[Principal, Depends(authenticated)]
OriginDep = Annotated[Origin, Depends(_origin)]
