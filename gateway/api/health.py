"""Health checks, without authentication."""

from fastapi import APIRouter, Response

from gateway.api.services import ServicesDep
from gateway.operations.readiness import readiness
from gateway.operations.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/livez")
async def live() -> Health:
    """Report that the process responds (liveness)."""
    # In the event loop: threads may all wait for a store that hangs.
    return Health(status="ok", checks={})


@router.get("/readyz", responses={503: {"model": Health}})
async def ready(services: ServicesDep, response: Response) -> Health:
    """Report readiness: 200 while jobs are accepted, 503 otherwise.

    Queue and workers are reported too, and do not make it 503: without them jobs are accepted and
    answered later. The status is `degraded` while the queue takes no messages.
    """
    health = await services.readiness.check(
        lambda: readiness(services.unit_of_work, services.broker, services.champion)
    )
    if services.draining.has_begun:
        health = Health(status="unavailable", checks={**health.checks, "gateway": "is stopping"})
    if health.status == "unavailable":
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return health
