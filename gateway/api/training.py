"""Training runs: request, follow and cancel."""

from fastapi import APIRouter, Response

from gateway.api.parameters import Limit, RunId, located
from gateway.api.services import OriginDep, ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.releases import training
from gateway.releases.schemas.training import TrainingRequest, TrainingRunList, TrainingRunOut
from shared.db.models import TrainingRun

router = APIRouter(prefix="/v1/training-runs", tags=["models"])


@router.get("")
def list_runs(
    services: ServicesDep,
    _operator: SignedIn,
    limit: Limit = 50,
) -> TrainingRunList:
    """List training runs, newest first."""
    with services.unit_of_work.reading() as session:
        return TrainingRunList(items=[_out(run) for run in training.newest(session, limit)])


@router.post("", status_code=202, responses=located(202))
def request_run(
    services: ServicesDep,
    operator: SignedIn,
    origin: OriginDep,
    wanted: TrainingRequest,
    response: Response,
) -> TrainingRunOut:
    """Request a training run. The trainer executes one run at a time."""
    with services.unit_of_work() as work:
        run = training.request(
            work,
            operator,
            reason=wanted.reason,
            dataset=wanted.dataset,
            trace_id=origin.trace_id,
            has_default=services.settings.trainer_data is not None,
        )
        audit_log.record(
            work.session,
            origin,
            "training.request",
            actor=operator.username,
            target=run.id,
            reason=wanted.reason,
            dataset=wanted.dataset,
        )
    response.headers["Location"] = f"/v1/training-runs/{run.id}"
    return _out(run)


@router.get("/{run_id}")
def show_run(services: ServicesDep, _operator: SignedIn, run_id: RunId) -> TrainingRunOut:
    """Return a training run with its progress."""
    with services.unit_of_work.reading() as session:
        return _out(training.find(session, run_id))


@router.delete("/{run_id}")
def cancel_run(
    services: ServicesDep, operator: SignedIn, origin: OriginDep, run_id: RunId
) -> TrainingRunOut:
    """Cancel a training run. A running one ends within seconds; a final one is unchanged."""
    with services.unit_of_work() as work:
        run = training.cancel(work.session, run_id)
        audit_log.record(
            work.session, origin, "training.cancel", actor=operator.username, target=run_id
        )
    return _out(run)


def _out(run: TrainingRun) -> TrainingRunOut:
    return TrainingRunOut.model_validate(run, from_attributes=True)
