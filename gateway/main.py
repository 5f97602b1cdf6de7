"""Entry point of the gateway: builds all services and serves HTTP."""

import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from gateway.api.services import Services
from gateway.app import build_app
from gateway.catalogs.output.results import Results
from gateway.catalogs.service import Catalogs, ended
from gateway.identity.audit_log import has_signed_in
from gateway.identity.secret_strength import complaints
from gateway.identity.sessions import Sessions
from gateway.identity.sign_in_limits import SignInLimits
from gateway.identity.single_sign_on import SingleSignOn
from gateway.jobs.explanations import MOST_WAITING, Explanations, explained
from gateway.jobs.long_poll import LongPolls
from gateway.jobs.quotas import Quotas
from gateway.jobs.service import finished
from gateway.jobs.submission import Jobs
from gateway.quality.labels import LabelFiles
from gateway.releases.champion_watch import ChampionWatch
from gateway.releases.datasets import Datasets
from gateway.settings import (
    CatalogSettings,
    ConnectionSettings,
    ExplanationSettings,
    GatewaySettings,
    RateSettings,
    SignInLimitSettings,
    SingleSignOnSettings,
    StoreSettings,
    SweepSettings,
)
from gateway.web.connections import Capacity
from gateway.web.draining import Draining
from gateway.web.rates import Rates, shared_storage
from gateway.web.server import limited_protocol, listeners
from shared.broker import Broker
from shared.db.session import UnitOfWork, open_engine
from shared.db.stalls import breakers_of
from shared.inference.releases.registry import Releases
from shared.inference.releases.shared_champion import SharedChampion
from shared.invalid_settings import run_program
from shared.memory import exempt_objects
from shared.progress import PROGRESS
from shared.service import start_service
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    ReleaseSettings,
    StorageSettings,
)
from shared.storage import Storage

#: Event loop of the server in the heartbeat, and the time after which it is late, in seconds.
HTTP_LOOP, HTTP_LATE_SECONDS = "http", 10.0
#: Longest wait for unsent messages before the process ends; the sweeper sends the others.
OUTBOX_SECONDS = 2.0


def main() -> int:
    """Serve HTTP until SIGTERM or SIGINT. Return the exit code."""
    start_service("gateway")
    settings = GatewaySettings()  # type: ignore[call-arg]  # the secret comes from the environment
    wrong = (
        complaints(settings, DatabaseSettings(), BrokerSettings()) if settings.production else []
    )
    if wrong:
        for line in wrong:
            print(f"Not started in production: {line}", file=sys.stderr)  # noqa: T201
        return 1
    services = build_services(settings)
    services.champion.start()
    services.jobs.outbox.start()
    services.broker.heartbeat("gateway").start()
    services.long_polls.listen(services.broker.listener)
    limits = ConnectionSettings()
    app = build_app(services)
    exempt_objects()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        server_header=False,
        http=limited_protocol(limits, settings.trusted_proxies),
        ws="none",
        backlog=Capacity.of(limits).backlog,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=10,
    )
    server = Server(config, services.draining, on_exit=services.release_waiting)
    server.run(listeners(settings.host, settings.port, config.backlog))
    services.jobs.outbox.stop(OUTBOX_SECONDS)
    return 0


class Server(uvicorn.Server):
    """An HTTP server that drains before it stops.

    When it stops, it releases waiting clients, because each would delay the exit for its whole
    wait.
    """

    def __init__(
        self, config: uvicorn.Config, draining: Draining, on_exit: Callable[[], None]
    ) -> None:
        super().__init__(config)
        PROGRESS.expect(HTTP_LOOP, HTTP_LATE_SECONDS)
        self._draining = draining
        self._on_exit = on_exit

    async def on_tick(self, counter: int) -> bool:
        """Record that the event loop runs, ten times a second."""
        PROGRESS.succeeded(HTTP_LOOP)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin draining. The server stops after the drain time, or at the second signal."""

        def stop() -> None:
            self._on_exit()
            super(Server, self).handle_exit(sig, frame)

        self._draining.begin(stop)


def build_services(settings: GatewaySettings) -> Services:
    """Build all services, connected to database, queue, storage and registry."""
    stores = StoreSettings()
    queue = BrokerSettings().model_copy(update={"answer_seconds": stores.queue_seconds})
    broker = Broker(queue, has_breaker=True)
    database = DatabaseSettings().model_copy(update={"answer_seconds": stores.database_seconds})
    breakers = breakers_of(database)
    unit_of_work = UnitOfWork(open_engine(database, breakers), broker, breakers)
    rates = Rates(shared_storage(queue), broker.breaker)
    rate_settings = RateSettings()
    release_settings = ReleaseSettings()
    limited = release_settings.model_copy(update={"answer_seconds": stores.registry_seconds})
    registry = Releases(limited, has_breaker=True)
    storage = Storage(StorageSettings())
    sessions = Sessions(
        settings, unit_of_work, sign_in_limits_of(rates, SignInLimitSettings(), unit_of_work)
    )
    sso_settings = SingleSignOnSettings()
    return Services(
        settings=settings,
        unit_of_work=unit_of_work,
        broker=broker,
        releases=registry,
        champion=ChampionWatch(
            SharedChampion(registry, release_settings),
            broker.workers,
            unit_of_work,
            release_settings,
        ),
        rates=rates,
        rate_settings=rate_settings,
        quotas=Quotas(rates, rate_settings, unit_of_work),
        sessions=sessions,
        single_sign_on=SingleSignOn(sso_settings, unit_of_work, sessions)
        if sso_settings.issuer
        else None,
        jobs=Jobs(unit_of_work, storage, SweepSettings().lease_seconds),
        catalogs=Catalogs(unit_of_work, storage, CatalogSettings()),
        results=Results(unit_of_work, storage),
        labels=LabelFiles(unit_of_work, storage),
        datasets=Datasets(unit_of_work, storage),
        storage=storage,
        long_polls=LongPolls(
            # Clients wait for jobs and catalogs. Each function reports the IDs of the other kind.
            lambda ids: finished(unit_of_work, ids) & ended(unit_of_work, ids),
            Capacity.of(ConnectionSettings()).long_polls,
        ),
        explanations=Explanations(
            unit_of_work,
            ExplanationSettings(),
            LongPolls(lambda ids: explained(unit_of_work, ids), MOST_WAITING),
        ),
        draining=Draining(settings.drain_seconds),
    )


def sign_in_limits_of(
    rates: Rates, settings: SignInLimitSettings, unit_of_work: UnitOfWork
) -> SignInLimits:
    """Return the limits on failed sign-ins. The audit log holds the known addresses of a user."""

    def is_known(username: str, address: str) -> bool:
        with unit_of_work.reading() as session:
            return has_signed_in(session, username, address, settings.known_days)

    return SignInLimits(rates, settings, is_known)


if __name__ == "__main__":
    run_program(main)
