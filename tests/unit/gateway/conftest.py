"""Fixtures: a gateway on SQLite with the real migrations, and fakes of queue and registry."""

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from limits.storage import MemoryStorage
from pydantic import SecretStr
from sqlalchemy import event

from gateway.api.services import Services
from gateway.api.submission.acceptance import accept_all
from gateway.app import build_app
from gateway.catalogs.feeder import Feeder
from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.output.results import Results
from gateway.catalogs.service import Catalogs, ended
from gateway.identity import accounts
from gateway.identity.principal import AccessTokens, Claims
from gateway.identity.sessions import Sessions
from gateway.jobs.explanations import Explanations, explained
from gateway.jobs.long_poll import LongPolls
from gateway.jobs.quotas import Quotas
from gateway.jobs.service import finished
from gateway.jobs.submission import Jobs
from gateway.main import sign_in_limits_of
from gateway.quality.labels import LabelFiles
from gateway.releases.champion_watch import ChampionWatch
from gateway.releases.datasets import Datasets
from gateway.settings import (
    CatalogSettings,
    ExplanationSettings,
    GatewaySettings,
    RateSettings,
    SignInLimitSettings,
)
from gateway.web.draining import Draining
from gateway.web.rates import Rates
from shared.broker import Broker
from shared.contracts import Modality
from shared.db.migrations.upgrade import upgrade
from shared.db.models import Base, LoginSession, Role, User, new_id, now
from shared.db.session import UnitOfWork, open_engine
from shared.inference.releases.registry import Releases
from shared.settings import DatabaseSettings, ReleaseSettings, StorageSettings
from shared.storage import Storage
from tests.support.factories import make_user
from tests.support.fakes import FakeBroker, FakeReleases

Row = TypeVar("Row", bound=Base)

LEASE_SECONDS = 30.0
PASSWORD = "correct horse"
#: argon2id at its lowest cost. The cost of production would take most of the tests' time.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_numbers = itertools.count(1)


@dataclass
class Api:
    """A test client of the gateway, its services and its fakes."""

    client: TestClient
    services: Services
    unit_of_work: UnitOfWork
    broker: FakeBroker
    releases: FakeReleases
    #: Job ids of each query of the long poll, in order.
    asked: list[set[str]] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Number of submissions that wait for the running transaction."""
        return self.services.jobs.waiting + self.services.grouped(accept_all).waiting

    @property
    def is_submitting(self) -> bool:
        """True once submissions are being stored; others then wait for the next transaction."""
        queues = list(self.services.grouped(accept_all)._queues.values())
        return self.waiting == 0 and any(queue.task is not None for queue in queues)

    def add(self, *rows: Base) -> None:
        """Commit rows."""
        with self.unit_of_work() as work:
            work.session.add_all(rows)

    def get(self, kind: type[Row], key: object) -> Row | None:
        """Return a row, freshly read."""
        with self.unit_of_work.reading() as session:
            return session.get(kind, key)

    def user(self, role: Role = Role.CLIENT, **changes: object) -> User:
        """Add an account and return it."""
        username = str(changes.pop("username", f"user{next(_numbers)}"))
        user = make_user(username, role=role.value, **changes)
        self.add(user)
        return user

    def sign(self, user: User) -> dict[str, str]:
        """Sign an account in without hashing a password, and return the headers."""
        login = LoginSession(
            id=new_id(),
            user_id=user.id,
            token_hash=new_id(),
            expires_at=now() + timedelta(days=1),
        )
        self.add(login)
        token = AccessTokens(self.services.settings).sign(Claims(user.id, login.id))
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database file at the newest revision, which tests copy."""
    path = tmp_path_factory.mktemp("migrated") / "rayon.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def broker() -> FakeBroker:
    """Return an empty queue."""
    return FakeBroker()


@pytest.fixture
def unit_of_work(migrated: Path, tmp_path: Path, broker: FakeBroker) -> Iterator[UnitOfWork]:
    """Return the database of this test."""
    path = tmp_path / "rayon.db"
    shutil.copy(migrated, path)
    engine = open_engine(DatabaseSettings(url=SecretStr(f"sqlite:///{path}")))
    # The file is gone after the test, so nothing waits until the disk has it.
    event.listen(engine, "connect", lambda made, _: made.execute("PRAGMA synchronous=OFF"))
    yield UnitOfWork(engine, broker)
    engine.dispose()


# Settings are frozen, and reading the environment for them takes longer than most requests.


@pytest.fixture(scope="session")
def settings() -> GatewaySettings:
    """Return settings with small limits, which tests can exceed."""
    return GatewaySettings(
        secret_key=SecretStr("s" * 32),
        max_body_bytes=40_000,
        max_plain_bytes=30_000,
        max_image_bytes=20_000,
        max_dataset_bytes=80_000,
        max_text_characters=2_000,
        trainer_data=Path("data"),
    )


@pytest.fixture(scope="session")
def rate_settings() -> RateSettings:
    """Return the default limits, which only tests of rates change."""
    return RateSettings()


@pytest.fixture(scope="session")
def sign_in_limit_settings() -> SignInLimitSettings:
    """Return small limits, which tests can exceed."""
    return SignInLimitSettings(of_address_at_account=5, of_address=8, at_account=10)


@pytest.fixture(scope="session")
def catalog_settings() -> CatalogSettings:
    """Return small limits, which tests can exceed."""
    return CatalogSettings(
        max_bytes=300_000, max_unfinished=3, max_unfinished_rows=20, max_unfinished_bytes=500_000
    )


@pytest.fixture(scope="session")
def release_settings() -> ReleaseSettings:
    """Return the default settings of releases."""
    return ReleaseSettings()


@pytest.fixture
def api(
    unit_of_work: UnitOfWork,
    broker: FakeBroker,
    settings: GatewaySettings,
    rate_settings: RateSettings,
    sign_in_limit_settings: SignInLimitSettings,
    catalog_settings: CatalogSettings,
    release_settings: ReleaseSettings,
    tmp_path: Path,
) -> Iterator[Api]:
    """Return a gateway with release 1 as champion."""
    releases = FakeReleases()
    asked: list[set[str]] = []

    def ask(ids: object) -> set[str]:
        names = set(cast(list[str], ids))
        asked.append(names)
        return finished(unit_of_work, names) & ended(unit_of_work, names)

    champion = ChampionWatch(releases, broker.workers, unit_of_work, release_settings)
    champion.look()
    storage = Storage(StorageSettings(url=str(tmp_path / "files")))
    rates = Rates(MemoryStorage())
    services = Services(
        settings=settings,
        unit_of_work=unit_of_work,
        broker=cast(Broker, broker),
        releases=cast(Releases, releases),
        champion=champion,
        rates=rates,
        rate_settings=rate_settings,
        quotas=Quotas(rates, rate_settings, unit_of_work),
        sessions=Sessions(
            settings, unit_of_work, sign_in_limits_of(rates, sign_in_limit_settings, unit_of_work)
        ),
        single_sign_on=None,
        jobs=Jobs(unit_of_work, storage, LEASE_SECONDS),
        catalogs=Catalogs(unit_of_work, storage, catalog_settings),
        results=Results(unit_of_work, storage),
        labels=LabelFiles(unit_of_work, storage),
        datasets=Datasets(unit_of_work, storage),
        storage=storage,
        long_polls=LongPolls(ask),
        explanations=Explanations(
            unit_of_work,
            ExplanationSettings(of_all=3),
            LongPolls(lambda ids: explained(unit_of_work, ids)),
        ),
    )
    services, app = _on_shared_app(services)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Api(client, services, unit_of_work, broker, releases, asked)


#: Applications by their settings. They are shared, because FastAPI analyses all routes of a new
#: application at its first request, which takes longer than most tests.
_apps: dict[tuple[GatewaySettings, CatalogSettings], tuple[FastAPI, Draining]] = {}


def _on_shared_app(services: Services) -> tuple[Services, FastAPI]:
    """Return the services and the application that tests with equal settings share."""
    key = (services.settings, services.catalogs.settings)
    if key not in _apps or _apps[key][1].has_begun:
        _apps[key] = (build_app(services), services.draining)
    app, draining = _apps[key]
    services = replace(services, draining=draining)
    app.state.services = services
    return services, app


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at the lowest cost; tests of the cost itself override this fixture."""
    monkeypatch.setattr(accounts, "_HASHER", CHEAP)


@pytest.fixture(scope="session")
def hashed() -> str:
    """Return the hash of `PASSWORD`."""
    return CHEAP.hash(PASSWORD)


@pytest.fixture
def mine(api: Api) -> dict[str, str]:
    """Return the headers of a signed-in client."""
    return api.sign(api.user())


@pytest.fixture
def admin(api: Api) -> dict[str, str]:
    """Return the headers of the only admin, signed in."""
    return api.sign(api.user(Role.ADMIN, username="root"))


@pytest.fixture
def feeder(api: Api) -> Iterator[Callable[..., Feeder]]:
    """Return a factory of feeders on the database and storage of the gateway."""
    made: list[Feeder] = []

    def make(workers: Mapping[Modality, int] | None = None, **settings: Any) -> Feeder:
        made.append(
            Feeder(
                api.unit_of_work,
                CatalogFiles(api.services.storage, 1_000_000, 100_000_000),
                CatalogSettings(**settings),
                max_characters=1_000,
                job_lease_seconds=LEASE_SECONDS,
                workers=lambda: workers or {},
            )
        )
        return made[-1]

    yield make
    for created in made:
        created.close()
