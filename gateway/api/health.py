"""Health checks, without authentication."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway.api.services import ServicesDep
from gateway.operations.processes import unknown_but_own
from gateway.operations.readiness import readiness
from gateway.operations.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/livez", response_model_exclude_none=True)
async def live() -> Health:
    """Report that the process responds (liveness)."""
    # In the event loop: threads may all wait for a store that hangs.
    return Health(status="ok", checks={})


@router.get("/readyz", responses={503: {"model": Health}}, response_model_exclude_none=True)
async def ready(
    services: ServicesDep,
    response: Response,
    verbose: Annotated[
        str | None,
        Query(
            max_length=8, description="With or without a value: list the processes; by default not."
        ),
    ] = None,
) -> Health:
    """Report readiness: 200 while jobs are accepted, 503 otherwise.

    Queue and workers are reported too, and do not make it 503: without them jobs are accepted and
    answered later. The status is `degraded` while the queue takes no messages, or the disk of the
    storage is full.
    """
    health = await services.readiness.check(
        lambda: readiness(
            services.unit_of_work,
            services.broker,
            services.champion,
            services.storage,
            services.settings.expected_processes,
        )
    )
    processes = health.processes or unknown_but_own("the checks take too long")
    shown = dict(processes) if verbose is not None else None
    health = health.model_copy(update={"processes": shown})
    if services.draining.has_begun:
        checks = {**health.checks, "gateway": "is stopping"}
        health = health.model_copy(update={"status": "unavailable", "checks": checks})
    if health.status == "unavailable":
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return health
