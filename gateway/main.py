"""Entry point of the gateway: builds all services and serves HTTP."""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware

from gateway.api import (
    api_keys,
    audit_log,
    catalog_labels,
    catalogs,
    datasets,
    drift_alerts,
    health,
    jobs,
    performance,
    queues,
    releases,
    reports,
    reviews,
    single_sign_on,
    token,
    training,
    users,
)
from gateway.api.answers import catalog_answers
from gateway.api.explaining import explanation
from gateway.api.importing import drafts, uploads
from gateway.api.repair import catalog_rows
from gateway.api.services import Services, authenticate_first
from gateway.catalogs.output.results import Results
from gateway.catalogs.service import Catalogs
from gateway.console import app as console
from gateway.identity.audit_log import has_signed_in
from gateway.identity.browser_cookie import CONSOLE
from gateway.identity.secret_strength import complaints
from gateway.identity.sessions import Sessions
from gateway.identity.sign_in_limits import SignInLimits
from gateway.identity.single_sign_on import SingleSignOn
from gateway.jobs.explanations import MOST_WAITING, Explanations, explained
from gateway.jobs.long_poll import LongPolls
from gateway.jobs.quotas import Quotas
from gateway.jobs.service import Jobs, finished
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
from gateway.web import error_handlers, reference
from gateway.web.connections import Capacity
from gateway.web.draining import Draining
from gateway.web.edge import Edge, require_storable_form
from gateway.web.error_handlers import problems_of
from gateway.web.middleware import LimitedBody, Observed
from gateway.web.openapi import document_of
from gateway.web.pacing import Pacing
from gateway.web.rates import Rates, shared_storage
from gateway.web.schemas import Problem
from gateway.web.server import limited_protocol, listeners
from shared.broker import Broker
from shared.db.session import UnitOfWork, open_engine
from shared.db.stalls import breakers_of
from shared.inference.releases.registry import Releases
from shared.inference.releases.shared_champion import SharedChampion
from shared.progress import PROGRESS
from shared.service import start_service
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    ReleaseSettings,
    StorageSettings,
)
from shared.storage import Storage

#: Route modules in the order of the API reference.
ROUTES = (
    token,
    single_sign_on,
    api_keys,
    users,
    audit_log,
    jobs,
    explanation,
    catalogs,
    drafts,
    uploads,
    catalog_rows,
    catalog_labels,
    catalog_answers,
    releases,
    datasets,
    training,
    drift_alerts,
    performance,
    reports,
    reviews,
    queues,
    health,
)
#: Event loop of the server in the heartbeat, and the time after which it is late, in seconds.
HTTP_LOOP, HTTP_LATE_SECONDS = "http", 10.0
#: Largest body of a request to sign in or to choose a password, in bytes.
MAX_SIGN_IN_BYTES = 16 * 1024
#: Longest wait for unsent messages before the process ends; the sweeper sends the others.
OUTBOX_SECONDS = 2.0
DESCRIPTION = """
Classifies products by text and image.

Sign in with `POST /v1/token` and submit a product with `POST /v1/jobs`. Read its category with
`GET /v1/jobs/{job_id}?wait=10`, which responds as soon as the category is known, or get it in the
response to the submission with `Prefer: wait=10`. Submit many products in one file with
`POST /v1/catalogs`.

* **Authentication:** send an access token as `Authorization: Bearer …`, or an API key as
  `X-API-Key: …`.
* **Pages:** lists return at most `limit` items (default 50, maximum 200). Send `next_cursor` of a
  page as `cursor` to get the next one; it is `null` on the last page.
* **Retries:** send `Idempotency-Key` with jobs and catalogs to repeat a submission safely.
  Responses with the status 429 or 503 have the header `Retry-After`, in seconds.
* **Limits:** the headers `RateLimit-Policy` and `RateLimit` state the limit on requests per minute
  and what remains of it.
* **Errors** are problem documents (RFC 9457) with a `detail` and, for invalid fields, `errors`.
* **Tracing:** each response has the ID of its trace as `X-Request-ID`.
* **Times** are in UTC (ISO 8601); durations are in seconds, sizes in bytes.
"""


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
    config = uvicorn.Config(
        build_app(services),
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
            lambda ids: finished(unit_of_work, ids), Capacity.of(ConnectionSettings()).long_polls
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


def build_app(services: Services) -> FastAPI:
    """Assemble routes, error handlers and middleware."""
    app = FastAPI(
        title="Rayon",
        version="1",
        description=DESCRIPTION.strip(),
        docs_url=None,
        redoc_url=None,
        responses=problems_of(Problem),
        dependencies=[Depends(require_storable_form)],
    )
    app.openapi = partial(document_of, app)  # type: ignore[method-assign]  # as FastAPI has it
    app.state.services = services
    for module in ROUTES:
        app.include_router(module.router)
    console.include_pages(app)
    error_handlers.install(app)
    reference.install(app)
    # The last middleware added is the outermost, so rejected bodies are logged and counted too.
    app.add_middleware(
        LimitedBody,
        max_bytes=services.settings.max_plain_bytes,
        others={
            # These are read before the sender is authenticated.
            **dict.fromkeys(("/v1/token", "/v1/password"), MAX_SIGN_IN_BYTES),
            datasets.PREFIX: services.settings.max_dataset_bytes,
            # Below a catalog, only its archive, images and label files are uploaded.
            f"{catalogs.PREFIX}/*/resume": services.catalogs.settings.max_bytes,
            f"{catalogs.PREFIX}/*/images": services.catalogs.settings.max_bytes,
            f"{catalogs.PREFIX}/": catalog_labels.MAX_LABELS_BYTES
            + services.settings.max_body_bytes,
            catalogs.PREFIX: services.catalogs.settings.max_bytes,
            # Only the submission of a job has an image.
            f"{jobs.PREFIX}/": services.settings.max_plain_bytes,
            jobs.PREFIX: services.settings.max_body_bytes,
            f"{CONSOLE}/sign-in": MAX_SIGN_IN_BYTES,
            f"{CONSOLE}/password": MAX_SIGN_IN_BYTES,
            f"{CONSOLE}/catalogs/*/repair/images": services.catalogs.settings.max_bytes,
            f"{CONSOLE}/catalogs/*/repair": services.settings.max_body_bytes,
            f"{CONSOLE}/try": services.settings.max_body_bytes,
            f"{uploads.PREFIX}/": services.catalogs.settings.max_bytes,
            f"{CONSOLE}/uploads/": services.catalogs.settings.max_bytes,
            f"{CONSOLE}/import/": services.settings.max_plain_bytes,
            f"{CONSOLE}/import": services.catalogs.settings.max_bytes,
        },
    )
    if services.single_sign_on is not None:
        # Holds state, nonce and verifier of a sign-in until the provider redirects back.
        app.add_middleware(
            SessionMiddleware,
            secret_key=services.settings.secret_key.get_secret_value(),
            session_cookie="rayon_single_sign_on",
            path=single_sign_on.PREFIX,
            max_age=600,
            https_only=services.single_sign_on.is_secure,
        )
    # Outside of the sessions, which parse cookies.
    app.add_middleware(Edge, authenticate=authenticate_first)
    console.add_middleware(app)
    if services.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=services.settings.cors_origins,
            allow_methods=["*"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "Prefer",
                "X-API-Key",
            ],
            expose_headers=[
                "Location",
                "Preference-Applied",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
            ],
        )
    # Inside of the observation, so that the time until the start of a request counts.
    app.add_middleware(Pacing)
    app.add_middleware(
        Observed, draining=services.draining, is_production=services.settings.production
    )
    return app


if __name__ == "__main__":
    sys.exit(main())
