"""The HTTP application: routes, error handlers and middleware."""

from functools import partial

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
from gateway.api.services import SECURITY_SCHEMES, Services, authenticate_first
from gateway.api.submission import route as submission
from gateway.console import app as console
from gateway.identity import permissions
from gateway.identity.browser_cookie import CONSOLE
from gateway.web import error_handlers, reference
from gateway.web.edge import Edge, require_storable_form
from gateway.web.error_handlers import problems_of
from gateway.web.middleware import LimitedBody, Observed
from gateway.web.openapi import document_of
from gateway.web.pacing import Pacing
from gateway.web.schemas import Problem

#: Route modules. A request is compared with one after the other: the most frequent one comes first.
ROUTES = (
    submission,
    jobs,
    token,
    single_sign_on,
    api_keys,
    users,
    audit_log,
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
#: Groups of routes in the order of the API reference.
TAGS = (
    "sign in",
    "API keys",
    "accounts",
    "jobs",
    "catalogs",
    "models",
    "monitoring",
    "operations",
    "health",
)
#: Largest body of a request to sign in or to choose a password, in bytes.
MAX_SIGN_IN_BYTES = 16 * 1024
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


def build_app(services: Services) -> FastAPI:
    """Assemble routes, error handlers and middleware."""
    app = FastAPI(
        title="Rayon",
        version="1",
        description=DESCRIPTION.strip(),
        openapi_tags=[{"name": tag} for tag in TAGS],
        docs_url=None,
        redoc_url=None,
        responses=problems_of(Problem),
        dependencies=[Depends(require_storable_form)],
    )
    app.openapi = partial(  # type: ignore[method-assign]  # as FastAPI has it
        document_of, app, SECURITY_SCHEMES, permissions.needs_principal
    )
    app.state.services = services
    for module in ROUTES:
        app.include_router(module.router)
    console.include_pages(app)
    error_handlers.install(app)
    reference.install(app)
    _add_middleware(app, services)
    return app


def _add_middleware(app: FastAPI, services: Services) -> None:
    """Add the middleware, the innermost first."""
    # The last middleware added is the outermost, so rejected bodies are logged and counted too.
    app.add_middleware(
        LimitedBody,
        max_bytes=services.settings.max_plain_bytes,
        others=_body_limits(services),
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


def _body_limits(services: Services) -> dict[str, int]:
    """Return the largest bodies, in bytes, by prefix of the path; the first that fits applies."""
    settings, catalog_bytes = services.settings, services.catalogs.settings.max_bytes
    return {
        # These are read before the sender is authenticated.
        **dict.fromkeys(("/v1/token", "/v1/password"), MAX_SIGN_IN_BYTES),
        datasets.PREFIX: settings.max_dataset_bytes,
        # Below a catalog, only its archive, images and label files are uploaded.
        f"{catalogs.PREFIX}/*/resume": catalog_bytes,
        f"{catalogs.PREFIX}/*/images": catalog_bytes,
        f"{catalogs.PREFIX}/": catalog_labels.MAX_LABELS_BYTES + settings.max_body_bytes,
        catalogs.PREFIX: catalog_bytes,
        # Only the submission of a job has an image.
        f"{jobs.PREFIX}/": settings.max_plain_bytes,
        jobs.PREFIX: settings.max_body_bytes,
        f"{CONSOLE}/sign-in": MAX_SIGN_IN_BYTES,
        f"{CONSOLE}/password": MAX_SIGN_IN_BYTES,
        f"{CONSOLE}/catalogs/*/repair/images": catalog_bytes,
        f"{CONSOLE}/catalogs/*/repair": settings.max_body_bytes,
        f"{CONSOLE}/catalogs/*/labels": catalog_labels.MAX_LABELS_BYTES + settings.max_body_bytes,
        f"{CONSOLE}/try": settings.max_body_bytes,
        f"{uploads.PREFIX}/": catalog_bytes,
        f"{CONSOLE}/uploads/": catalog_bytes,
        f"{CONSOLE}/import/": settings.max_plain_bytes,
        f"{CONSOLE}/import": catalog_bytes,
    }
