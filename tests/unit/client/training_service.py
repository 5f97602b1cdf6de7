"""Routes of the fake service about datasets, training runs and releases."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

from gateway.releases.schemas.datasets import DatasetList, DatasetReportOut
from gateway.releases.schemas.releases import ReleaseOut
from gateway.releases.schemas.training import TrainingRunOut
from gateway.web.error_handlers import problem
from shared.db.models import TrainingRun

NOW = "2026-11-28T10:00:00Z"
FINDING = {
    "code": "no_label",
    "severity": "error",
    "message": "3 rows have no category",
    "count": 3,
    "rows": [1, 4],
    "lines": [3, 7],
}
RARE = {"code": "rare", "severity": "warning", "message": "One category has 2 rows", "count": 0}


@dataclass
class TrainingState:
    """Datasets, runs and releases of the fake service.

    Attributes:
        polls: How often a dataset must be looked at until its check has ended.
        findings: What the check finds; with an error the version fails.
        runs: States of a training run, one for each look at it; the last one stays.
        loads: False if no worker can load a promoted release.
    """

    polls: int = 1
    findings: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    loads: bool = True
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    forms: list[dict[str, Any]] = field(default_factory=list)
    cancelled: bool = False
    reasons: list[str] = field(default_factory=list)
    passwords: list[dict[str, str]] = field(default_factory=list)


def add_training(app: FastAPI, state: TrainingState) -> None:
    """Add the routes of datasets, training runs, releases and passwords."""
    _add_uploads(app, state)
    _add_datasets(app, state)
    _add_runs(app, state)
    _add_releases(app, state)

    @app.post("/v1/password", status_code=204)
    @app.put("/v1/me/password", status_code=204)
    async def change(request: Request) -> Response:
        state.passwords.append(await request.json())
        return Response(status_code=204)


def _add_uploads(app: FastAPI, state: TrainingState) -> None:
    async def keep(name: str, request: Request, version: int) -> Any:
        async with request.form() as form:
            sent = {key: getattr(one, "filename", one) for key, one in form.multi_items()}
        state.forms.append(sent)
        state.datasets[name] = _version(version)
        return _shown(name, state)

    @app.post("/v1/datasets", status_code=202)
    async def add(request: Request) -> Any:
        async with request.form() as form:
            name = str(form["name"])
        if name in state.datasets:
            return problem(409, "Conflict", f"The dataset {name!r} exists")
        return await keep(name, request, 1)

    @app.post("/v1/datasets/{name}/rows", status_code=202)
    async def add_rows(name: str, request: Request) -> Any:
        return await keep(name, request, state.datasets[name]["version"] + 1)


def _add_datasets(app: FastAPI, state: TrainingState) -> None:
    @app.get("/v1/datasets")
    async def datasets() -> DatasetList:
        items = [{"name": name, "versions": [one]} for name, one in state.datasets.items()]
        return DatasetList.model_validate({"items": items}, by_name=True)

    @app.get("/v1/datasets/{name}")
    async def show(name: str) -> DatasetReportOut:
        if name not in state.datasets:
            raise HTTPException(404, f"No dataset {name!r}")
        state.datasets[name]["polls"] += 1
        if state.datasets[name]["polls"] > state.polls:
            state.datasets[name] |= _checked(state.findings)
        return _shown(name, state)

    @app.delete("/v1/datasets/{name}", status_code=204)
    async def delete(name: str) -> Response:
        del state.datasets[name]
        return Response(status_code=204)


def _version(number: int) -> dict[str, Any]:
    empty = ("finished_at", "rows", "classes", "images", "fingerprint", "message", "report")
    return {
        **dict.fromkeys(empty),
        "version": number,
        "status": "checking",
        "created_at": NOW,
        "created_by": "amelie",
        "asked": {},
        "polls": 0,
    }


def _checked(findings: list[dict[str, Any]]) -> dict[str, Any]:
    is_bad = any(one["severity"] == "error" for one in findings)
    return {
        "status": "failed" if is_bad else "ready",
        "finished_at": NOW,
        "rows": 700,
        "classes": 12,
        "images": 640,
        "report": {"findings": findings},
    }


def _shown(name: str, state: TrainingState) -> DatasetReportOut:
    body = {"name": name, "versions": [state.datasets[name]]}
    return DatasetReportOut.model_validate(body, by_name=True)


def _add_runs(app: FastAPI, state: TrainingState) -> None:
    def current(*, advances: bool) -> dict[str, Any]:
        if advances and len(state.runs) > 1:
            state.runs.pop(0)
        return run_of(state)

    @app.post("/v1/training-runs", status_code=202)
    async def request(request: Request) -> dict[str, Any]:
        state.reasons.append((await request.json())["reason"])
        return current(advances=False)

    @app.get("/v1/training-runs")
    async def runs() -> dict[str, Any]:
        return {"items": [current(advances=False)]}

    @app.get("/v1/training-runs/{run_id}")
    async def show(run_id: str) -> dict[str, Any]:
        if run_id != "run-1":
            raise HTTPException(404, f"No training run {run_id!r}")
        return current(advances=True)

    @app.delete("/v1/training-runs/{run_id}")
    async def cancel(run_id: str) -> dict[str, Any]:
        state.cancelled = True
        return current(advances=False)


def run_of(state: TrainingState) -> dict[str, Any]:
    """Return the current state of the training run in the gateway's format."""
    changes = state.runs[0] if state.runs else {}
    run = {
        "id": "run-1",
        "requested_at": datetime.fromisoformat(NOW),
        "requested_by": "amelie",
        "reason": "because",
        "dataset": "shop@1",
        "attempts": 1,
        "status": "running",
        **changes,
    }
    if state.cancelled:
        run["status"] = "cancelled"
    shown = TrainingRunOut.model_validate(TrainingRun(**run), from_attributes=True)
    return shown.model_dump(mode="json")


def _add_releases(app: FastAPI, state: TrainingState) -> None:
    async def moved(version: str, request: Request) -> ReleaseOut:
        state.reasons.append((await request.json())["reason"])
        body: dict[str, Any] = {
            "version": version,
            "aliases": ["champion"],
            "created_at": NOW,
            "description": "",
        }
        body |= {"figures": {}, "rejected": None, "serving": state.loads}
        return ReleaseOut.model_validate(body)

    @app.post("/v1/releases/rollback")
    async def roll_back(request: Request) -> ReleaseOut:
        return await moved("3", request)

    @app.post("/v1/releases/{version}/promote")
    async def promote(version: str, request: Request) -> ReleaseOut:
        return await moved(version, request)

    @app.get("/v1/releases/{version}")
    async def release(version: str) -> ReleaseOut:
        body: dict[str, Any] = {
            "version": version,
            "aliases": ["champion"] if version == "5" else [],
            "created_at": NOW,
            "description": "",
        }
        rejected = "868 ms of 500 ms" if version == "9" else None
        return ReleaseOut.model_validate(body | {"figures": {}, "rejected": rejected})
