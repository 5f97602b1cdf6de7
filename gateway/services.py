"""What the routes work with, and who is asking."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer

from gateway.catalogs import Catalogs
from gateway.champion import ChampionWatch
from gateway.datasets import Datasets
from gateway.deps import Principal
from gateway.jobs import Jobs
from gateway.results import Results
from gateway.sessions import Sessions
from gateway.waiting import Waiting
from shared.broker import Broker
from shared.db.session import UnitOfWork
from shared.errors import Forbidden, Unauthenticated
from shared.inference.releases import Releases
from shared.settings import GatewaySettings
from shared.storage import Storage

_BEARER = OAuth2PasswordBearer(tokenUrl="/v1/token", auto_error=False)


@dataclass(frozen=True)
class Services:
    """Everything that `main` built."""

    settings: GatewaySettings
    unit_of_work: UnitOfWork
    broker: Broker
    releases: Releases
    champion: ChampionWatch
    sessions: Sessions
    jobs: Jobs
    catalogs: Catalogs
    results: Results
    datasets: Datasets
    storage: Storage
    waiting: Waiting


def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]


def _principal(services: ServicesDep, token: Annotated[str | None, Depends(_BEARER)]) -> Principal:
    if token is None:
        raise Unauthenticated("Expected an access token: `Authorization: Bearer …`")
    return services.sessions.principal(token)


SignedIn = Annotated[Principal, Depends(_principal)]


def _admin(principal: SignedIn) -> Principal:
    if not principal.is_admin:
        raise Forbidden("This needs the role `admin`")
    return principal


def _operator(principal: SignedIn) -> Principal:
    if not principal.is_operator:
        raise Forbidden("This needs the role `operator` or `admin`")
    return principal


Admin = Annotated[Principal, Depends(_admin)]
Operator = Annotated[Principal, Depends(_operator)]
