"""Fake gateway over real HTTP, using the gateway's own schemas.

Sign-ins follow the gateway's rules: an access token ends, a refresh token is valid once, and one
that is used twice ends its session.
"""

import asyncio
import hashlib
import itertools
import json
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse

from gateway.identity.schemas.accounts import UserOut, UserPatch
from gateway.identity.schemas.sessions import TokenPair
from gateway.jobs.explanation_schemas import ExplanationOut
from gateway.jobs.schemas import JobOut, JobPage
from gateway.operations.schemas import DeadLetterList, DeadLetterReport, QueueList
from gateway.quality.schemas.labels import LabelIn, LabelReportOut, ReviewPage
from gateway.quality.schemas.precision import PrecisionOut
from gateway.quality.schemas.reports import ReportList, ReportOut, ReportRequest
from gateway.releases.schemas.releases import CategoryList, ReleaseList
from gateway.web.error_handlers import problem
from tests.unit.client.training_service import TrainingState, add_training

USERNAME, PASSWORD, KEY = "amelie", "correct horse battery", "rayon_key"
NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
#: Rows of a page, so that a short list has several.
PAGE = 2

RESULT = {
    "prdtypecode": 2583,
    "category": "Piscine et accessoires",
    "confidence": 0.97,
    "top": [
        {"prdtypecode": 2583, "category": "Piscine et accessoires", "probability": 0.97},
        {"prdtypecode": 1280, "category": "Jouets", "probability": 0.02},
    ],
    "modalities": {"text": {"prdtypecode": 2583, "confidence": 0.95}},
    "degraded": None,
}


LABELS = {"rows": 3, "taken": 3, "skipped": 0, "rejected": 0, "problems": []}
SELECTION = {
    "is_reached": True,
    "reachable": 0.995,
    "threshold": 0.8512,
    "rows": 1_400,
    "accepted": 1_000,
    "share": 1_000 / 1_400,
    "review": 390,
    "foreign": 12,
    "expected_precision": 0.9834,
    "low": 0.971,
    "high": 0.99,
    "labels": None,
}
PRECISION: dict[str, Any] = {
    **SELECTION,
    "method": "confidences",
    "is_estimate": True,
    "labelled": 12,
    "labels_needed": 100,
    "categories": [],
}
#: Beginnings of paths that need no sign-in.
OPEN = ("/v1/token", "/v1/password")
_COUNTS = {"waiting": 2, "running": 1, "oldest_seconds": 65.0, "messages_per_second": 3.25}
QUEUES = {
    "items": [
        {
            "queue": "text.interactive",
            "station": "text",
            "lane": "interactive",
            **_COUNTS,
            "workers": 2,
            "workers_proven": 1,
        },
        {
            "queue": "training",
            "station": "training",
            "lane": None,
            **dict.fromkeys(("waiting", "running", "messages_per_second"), 0),
            "oldest_seconds": None,
            **dict.fromkeys(("workers", "workers_proven"), 0),
        },
    ],
    "totals": {**_COUNTS, "workers": 2, "workers_proven": 1},
    "jobs_queued": 3,
    "jobs": [],
    "rows_to_feed": 40,
    "workers": [
        {
            "name": "text@a:1",
            "queues": ["text.interactive"],
            "releases": ["3"],
            "running": 0,
            "handled": 7,
            "seconds_since_consumed": 90.0,
            "seconds_since_asked": 80.0,
            "state": "deaf",
            "unloadable": {"4": "its model is broken"},
        }
    ],
    "processes": [
        {
            "name": "scheduler@a:2",
            "process": "scheduler",
            "state": "failing",
            "seconds_since_heartbeat": 4.0,
            "loops": [
                {
                    "loop": "retention",
                    "state": "failing",
                    "seconds_since_success": 7200.0,
                    "last_success_at": None,
                    "failures": 3,
                    "last_failure_at": "2026-10-01T00:00:00Z",
                    "failure": "OSError: full",
                    "row": "job 7",
                    "rows_skipped": 2,
                    "skipped": "job 5: KeyError: 'x'",
                },
                {
                    "loop": "sweep",
                    "state": "late",
                    "seconds_since_success": 400.0,
                    "last_success_at": "2026-10-01T00:00:00Z",
                    "failures": 0,
                    "last_failure_at": None,
                    "failure": "",
                    "row": "",
                    "rows_skipped": 0,
                    "skipped": "",
                },
            ],
        },
        {
            "name": "feeder@a:3",
            "process": "feeder",
            "state": "silent",
            "seconds_since_heartbeat": 65.0,
            "loops": [],
        },
    ],
    "missing_processes": ["monitor"],
}


@dataclass
class Session:
    """Session with its currently valid tokens."""

    access: str
    refresh: str
    access_ends: float


@dataclass
class FakeService:
    """State of the fake service and the behaviour that a test sets.

    Attributes:
        faults: Answers that the next requests get, whatever they ask; nothing is done.
        lost: Answers that the next jobs and catalogs get instead of their own; they are kept.
        explanations: Explanations that the next requests for one get.
        slow_jobs: New jobs stay queued.
        result: Answer of new jobs.
        polls: How often a catalog must be looked at until it is finished.
        outcome: What becomes of the rows of a catalog.
        results: Its results as CSV, and as a workbook.
        rows: Its results as JSON Lines.
        report: What its check finds.
        precision: What its precision dial shows.
        resumed_with: Archives with which catalogs were resumed.
        requests: Every request so far: method, path, headers.
        bodies: SHA-256 of each uploaded file.
    """

    url: str = ""
    access_seconds: float = 900
    faults: deque[Response] = field(default_factory=deque)
    explanations: deque[dict[str, Any]] = field(default_factory=deque)
    lost: deque[Response] = field(default_factory=deque)
    slow_jobs: bool = False
    result: dict[str, Any] = field(default_factory=lambda: dict(RESULT))
    failing_jobs: bool = False
    polls: int = 2
    outcome: dict[str, int] = field(default_factory=lambda: {"done": 3})
    results: str = "designation,prdtypecode\nPiscine,2583\n"
    rows: list[dict[str, Any]] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    catalogs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    forms: list[dict[str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    letters: dict[str, dict[str, Any]] = field(default_factory=dict)
    looks: int = 0
    reviews: dict[str, dict[str, Any]] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=lambda: dict(LABELS))
    report: dict[str, Any] = field(default_factory=dict)
    precision: dict[str, Any] = field(default_factory=lambda: dict(PRECISION))
    queries: list[dict[str, str]] = field(default_factory=list)
    resumed_with: list[bytes | None] = field(default_factory=list)
    training: TrainingState = field(default_factory=TrainingState)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def asked(self, method: str, path: str) -> list[dict[str, str]]:
        """Return the headers of the requests to a path so far."""
        return [headers for one, at, headers in self.requests if (one, at) == (method, path)]

    def new_tokens(self, session_id: str | None = None) -> TokenPair:
        """Start or renew a session."""
        number = next(self._numbers)
        session_id = session_id or f"s{number}"
        session = Session(
            access=f"access-{number}",
            refresh=f"{session_id}.refresh-{number}",
            access_ends=time.monotonic() + self.access_seconds,
        )
        self.sessions[session_id] = session
        return TokenPair(
            access_token=session.access,
            refresh_token=session.refresh,
            expires_in=int(self.access_seconds),
        )

    def expire(self) -> None:
        """Invalidate all access tokens before they expire."""
        for session in self.sessions.values():
            session.access_ends = 0

    def is_signed_in(self, request: Request) -> bool:
        """Return True if a request has a valid key or token."""
        if request.headers.get("X-API-Key") == KEY:
            return True
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return any(
            session.access == token and time.monotonic() < session.access_ends
            for session in self.sessions.values()
        )

    def add_job(self, **changes: Any) -> dict[str, Any]:
        """Add a job in the gateway's format."""
        job: dict[str, Any] = {
            "id": f"job-{next(self._numbers)}",
            "status": "done",
            "model": "fusion",
            "release": "3",
            "created_at": NOW,
            "finished_at": NOW,
            "result": self.result,
            "error": None,
            "label": None,
        }
        if self.slow_jobs:
            job |= {"status": "queued", "finished_at": None, "result": None}
        if self.failing_jobs:
            error = {"code": "image_unreadable", "message": "The image cannot be read"}
            job |= {"status": "failed", "result": None, "error": error}
        shown = JobOut.model_validate(job | changes).model_dump(mode="json")
        self.jobs[shown["id"]] = shown
        return shown

    def add_review(self, job_id: str, **changes: Any) -> dict[str, Any]:
        """Add a review in the gateway's format."""
        review: dict[str, Any] = {
            "job_id": job_id,
            "chosen_at": NOW,
            "reason": "random",
            "chance": 0.025,
            "designation": "Piscine gonflable",
            "description": "Pour enfants",
            "image": f"/v1/reviews/{job_id}/image",
            "result": RESULT,
            "release": "3",
            "catalog_id": None,
            "label": None,
            "labelled_at": None,
            "labelled_by": None,
        }
        self.reviews[job_id] = review | changes
        return self.reviews[job_id]

    def add_letter(self, letter_id: str, **changes: Any) -> dict[str, Any]:
        """Add a dead letter in the gateway's format."""
        letter: dict[str, Any] = {
            "id": letter_id,
            "topic": "score_text",
            "error": "given up after 4 deliveries",
            "deliveries": 4,
            "parked_at": NOW,
            "job_ids": ["job-1", "job-2"],
            "catalog_id": "catalog-1",
            "release": "3",
            "lane": "catalog",
            "payload": {"items": [{"job_id": "job-1"}, {"job_id": "job-2"}]},
        }
        self.letters[letter_id] = letter | changes
        return self.letters[letter_id]

    def add_catalog(self, **changes: Any) -> dict[str, Any]:
        """Add a catalog in the gateway's format."""
        catalog: dict[str, Any] = {
            "id": f"catalog-{next(self._numbers)}",
            "status": "validating",
            "name": "products.csv",
            "model": "fusion",
            "release": "3",
            "dry_run": False,
            "created_at": "2026-01-05T10:00:00Z",
            "finished_at": None,
            "counts": dict.fromkeys(
                ("rows", "rejected", "queued", "done", "failed", "cancelled", "of_tomorrow"), 0
            ),
            "rows_per_second": None,
            "eta_seconds": None,
            "unmatched_images": [],
            "unused_images": [],
            "warnings": 0,
            "error": None,
            "of_tomorrow": "a field that this client does not know",
        } | changes
        self.catalogs[catalog["id"]] = catalog | {"polls": 0}
        return self.catalogs[catalog["id"]]

    def advance(self, catalog: dict[str, Any]) -> None:
        """Advance a catalog by one poll."""
        catalog["polls"] += 1
        if catalog["status"] not in ("validating", "running"):
            return
        rows = sum(self.outcome.values())
        catalog["counts"] |= {"rows": rows, "queued": rows}
        catalog |= self.report
        catalog |= {"status": "running", "rows_per_second": 340.0, "eta_seconds": 125.0}
        if catalog["polls"] >= self.polls:
            catalog["counts"] |= self.outcome | {"queued": 0}
            catalog |= {"status": "finished", "finished_at": "2026-01-05T10:02:05Z"}


class _Server(uvicorn.Server):
    """Server that stops within milliseconds; uvicorn itself polls and waits a tenth of a second."""

    async def main_loop(self) -> None:
        """Run until the server is asked to stop."""
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        # Closed transports end in the next turn of the loop.
        await asyncio.sleep(0.005)


class Running:
    """Fake service on a free port, in a thread of this process.

    Args:
        certificate: A PEM file with a key and its certificate; without it the service uses HTTP.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.service = FakeService()
        self._socket = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if certificate else "http"
        self.service.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            build_app(self.service),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            ssl_certfile=certificate,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> FakeService:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self.service

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()


def build_app(service: FakeService) -> FastAPI:
    """Build the application with the routes that the client uses."""
    app = FastAPI()
    _add_sign_in(app, service)
    _add_jobs(app, service)
    _add_explanations(app, service)
    _add_uploads(app, service)
    _add_catalogs(app, service)
    _add_answers(app, service)
    _add_resume(app, service)
    _add_lists(app, service)
    _add_operations(app, service)
    _add_labels(app, service)
    _add_users(app)
    _add_reports(app)
    add_training(app, service.training)

    @app.middleware("http")
    async def meet(request: Request, answer: Any) -> Any:
        service.requests.append((request.method, request.url.path, dict(request.headers)))
        is_open = request.method == "POST" and request.url.path.startswith(OPEN)
        if service.faults and not is_open:
            return service.faults.popleft()
        if not is_open and not service.is_signed_in(request):
            return problem(401, "Sign in first", "The access token has expired")
        return await answer(request)

    @app.exception_handler(HTTPException)
    async def refuse(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, "Not found", str(error.detail))

    return app


def _add_sign_in(app: FastAPI, service: FakeService) -> None:
    @app.post("/v1/token")
    async def sign_in(request: Request, response: Response) -> Any:
        form = await request.form()
        if service.faults:
            return service.faults.popleft()
        if (form["username"], form["password"]) != (USERNAME, PASSWORD):
            return problem(401, "Sign in first", "The username or the password is not right")
        response.set_cookie("rayon_device", f"device{len(service.requests)}", path="/v1")
        return service.new_tokens()

    @app.post("/v1/token/refresh")
    async def refresh(request: Request) -> Any:
        token = (await request.json())["refresh_token"]
        session_id = token.partition(".")[0]
        session = service.sessions.get(session_id)
        if session is None or session.refresh != token:
            service.sessions.pop(session_id, None)
            return problem(401, "Sign in first", "The refresh token is not valid")
        return service.new_tokens(session_id)

    @app.delete("/v1/token", status_code=204)
    async def sign_out(request: Request) -> Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        ended = [name for name, one in service.sessions.items() if one.access == token]
        del service.sessions[ended[0]]
        return Response(status_code=204)

    @app.get("/v1/me")
    async def me() -> UserOut:
        said = {"username": USERNAME, "role": "client", "is_active": True, "created_at": NOW}
        return UserOut.model_validate(said)


def _add_jobs(app: FastAPI, service: FakeService) -> None:
    @app.post("/v1/jobs", status_code=202)
    async def submit(request: Request) -> Any:
        key = request.headers["Idempotency-Key"]
        async with request.form() as form:
            if key not in service.keys:
                await _note(service, form)
                service.keys[key] = service.add_job(model=form["model"])["id"]
        if service.lost:
            return service.lost.popleft()
        return service.jobs[service.keys[key]]

    @app.get("/v1/jobs")
    async def jobs(cursor: str | None = None, status: str | None = None) -> JobPage:
        found = [job for job in service.jobs.values() if status in (None, job["status"])]
        start = int(cursor or 0)
        following = str(start + PAGE) if len(found) > start + PAGE else None
        page = {"items": found[start : start + PAGE], "next_cursor": following}
        return JobPage.model_validate(page)

    @app.get("/v1/jobs/{job_id}")
    async def job(job_id: str) -> Any:
        return _found(service.jobs, job_id)

    @app.delete("/v1/jobs/{job_id}")
    async def cancel(job_id: str) -> Any:
        job = _found(service.jobs, job_id)
        if job["status"] == "queued":
            job["status"] = "cancelled"
        return job


def _add_explanations(app: FastAPI, service: FakeService) -> None:
    @app.get("/v1/jobs/{job_id}/explanation")
    async def explanation(job_id: str) -> ExplanationOut:
        _found(service.jobs, job_id)
        return ExplanationOut.model_validate({"job_id": job_id, **service.explanations.popleft()})


def _add_uploads(app: FastAPI, service: FakeService) -> None:
    @app.post("/v1/catalogs", status_code=202)
    async def upload(request: Request) -> Any:
        key = request.headers["Idempotency-Key"]
        try:
            async with request.form() as form:
                if key not in service.keys:
                    name = await _note(service, form)
                    options = {"model": form["model"], "dry_run": form["dry_run"] == "true"}
                    service.keys[key] = service.add_catalog(name=name, **options)["id"]
        except ClientDisconnect:
            return Response(status_code=400)
        if service.lost:
            return service.lost.popleft()
        return _shown(service.catalogs[service.keys[key]])


def _add_resume(app: FastAPI, service: FakeService) -> None:
    @app.post("/v1/catalogs/{catalog_id}/resume", status_code=202)
    async def resume(request: Request, catalog_id: str) -> Any:
        catalog = _found(service.catalogs, catalog_id)
        if catalog["status"] != "cancelled":
            return problem(409, "Conflict", "Expected a cancelled catalog")
        async with request.form() as form:
            archive = form.get("images")
            sent = await archive.read() if isinstance(archive, UploadFile) else None
            service.resumed_with.append(sent)
        catalog |= {"status": "running", "polls": 0}
        catalog["counts"] |= {"cancelled": 0}
        return _shown(catalog)


def _add_catalogs(app: FastAPI, service: FakeService) -> None:
    @app.get("/v1/catalogs")
    async def catalogs(cursor: str | None = None) -> Any:
        found = [_shown(one) for one in service.catalogs.values()]
        start = int(cursor or 0)
        following = str(start + PAGE) if len(found) > start + PAGE else None
        return {"items": found[start : start + PAGE], "next_cursor": following}

    @app.get("/v1/catalogs/{catalog_id}")
    async def show(catalog_id: str) -> Any:
        catalog = _found(service.catalogs, catalog_id)
        service.advance(catalog)
        return _shown(catalog)

    @app.delete("/v1/catalogs/{catalog_id}")
    async def cancel(catalog_id: str) -> Any:
        catalog = _found(service.catalogs, catalog_id)
        catalog["status"] = "cancelled"
        return _shown(catalog)

    @app.post("/v1/catalogs/{catalog_id}/retry", status_code=202)
    async def retry(catalog_id: str) -> Any:
        catalog = _found(service.catalogs, catalog_id)
        service.outcome = {"done": sum(service.outcome.values())}
        catalog |= {"status": "running", "polls": 0}
        catalog["counts"] |= {"failed": 0}
        return _shown(catalog)


def _add_answers(app: FastAPI, service: FakeService) -> None:
    @app.get("/v1/catalogs/{catalog_id}/results")
    async def results(request: Request, catalog_id: str) -> Response:
        _found(service.catalogs, catalog_id)
        service.queries.append(dict(request.query_params))
        if request.query_params.get("format") == "jsonl":
            lines = (json.dumps(row) + "\n" for row in service.rows)
            return StreamingResponse(lines, media_type="application/jsonl")
        return StreamingResponse(iter(service.results.splitlines(True)), media_type="text/csv")

    @app.get("/v1/catalogs/{catalog_id}/precision")
    async def precision(catalog_id: str, target: float, by_category: bool) -> PrecisionOut:
        _found(service.catalogs, catalog_id)
        asked = {"target": target, "by_category": by_category}
        return PrecisionOut.model_validate({**service.precision, **asked})

    @app.get("/v1/catalogs/{catalog_id}/errors")
    async def errors(catalog_id: str) -> Response:
        rows = _found(service.catalogs, catalog_id)["counts"]["rejected"]
        lines = [
            f"{row - 1},{row},designation,\x1b[31m,must not be empty\n"
            for row in range(2, rows + 2)
        ]
        return PlainTextResponse("row,line,column,value,reason\n" + "".join(lines))


def _add_lists(app: FastAPI, service: FakeService) -> None:
    @app.get("/v1/categories")
    async def categories(release: str) -> CategoryList:
        items = [{"prdtypecode": 2583, "category": "Piscine et accessoires"}]
        return CategoryList.model_validate({"release": release, "items": items})

    @app.get("/v1/releases")
    async def releases() -> ReleaseList:
        one = {
            "version": "3",
            "aliases": ["champion"],
            "created_at": NOW,
            "description": "Better on shoes",
            "figures": {"fusion_f1_plain": 0.821, "text_f1_plain": 0.8097},
            "rejected": None,
            "serving": True,
            "verdict": {"outcome": "not comparable", "sentence": "Not comparable"},
            "watch": {"state": "watching", "sentence": "Compared with release 2", "at": NOW},
        }
        return ReleaseList.model_validate({"items": [one], "ledger": []})


def _add_operations(app: FastAPI, service: FakeService) -> None:
    @app.get("/v1/queues")
    async def queues() -> QueueList:
        service.looks += 1
        return QueueList.model_validate(QUEUES)

    @app.get("/v1/dead-letters")
    async def letters(topic: str | None = None) -> DeadLetterList:
        found = [one for one in service.letters.values() if topic in (None, one["topic"])]
        return DeadLetterList.model_validate({"items": found, "next_cursor": None})

    @app.get("/v1/dead-letters/{letter_id}")
    async def letter(letter_id: str) -> DeadLetterReport:
        found = _found(service.letters, letter_id)
        return DeadLetterReport.model_validate({**found, "jobs": {"failed": 2}})

    @app.post("/v1/dead-letters/{letter_id}/replay", status_code=202)
    @app.delete("/v1/dead-letters/{letter_id}", status_code=204)
    async def end(letter_id: str) -> Response:
        _found(service.letters, letter_id)
        del service.letters[letter_id]
        return Response(status_code=202)


def _add_labels(app: FastAPI, service: FakeService) -> None:
    @app.get("/v1/reviews")
    async def reviews(labelled: bool | None = None, reason: str | None = None) -> ReviewPage:
        found = [
            one
            for one in service.reviews.values()
            if labelled in (None, one["label"] is not None) and reason in (None, one["reason"])
        ]
        return ReviewPage.model_validate({"items": found, "next_cursor": None})

    @app.get("/v1/reviews/{job_id}/image")
    async def image(job_id: str) -> Response:
        _found(service.reviews, job_id)
        return Response(b"\xff\xd8\xff", media_type="image/jpeg")

    @app.put("/v1/jobs/{job_id}/label")
    async def label(job_id: str, said: LabelIn) -> Any:
        code = said.prdtypecode
        if said.category is not None:
            code = {"jouets": 1280}.get(said.category.lower(), -1)
        if code not in (None, 2583, 1280) and not said.new_category:
            wrong = said.category or said.prdtypecode
            return problem(422, "Invalid input", f"No such category: {wrong}")
        if job_id in service.reviews:
            service.reviews[job_id]["label"] = code
            return service.add_job(id=job_id, label=code)
        job = _found(service.jobs, job_id)
        job["label"] = code
        return job

    @app.post("/v1/catalogs/{catalog_id}/labels")
    async def labels(catalog_id: str, request: Request) -> LabelReportOut:
        _found(service.catalogs, catalog_id)
        async with request.form() as form:
            await _note(service, form)
        return LabelReportOut.model_validate(service.labels)


def _add_users(app: FastAPI) -> None:
    @app.patch("/v1/users/{username}")
    async def change(username: str, wanted: UserPatch) -> UserOut:
        said = {"username": username, "role": "client", "is_active": True, "created_at": NOW}
        return UserOut.model_validate({**said, "labels_trusted": wanted.labels_trusted})


def _add_reports(app: FastAPI) -> None:
    rules = [{"fired": True, "level": "watch", "found": "1 alert raised."}]
    document = {"verdict": {"sentence": "1 alert raised.", "rules": rules}}
    kept = {"month": "2026-10", "made_at": NOW, "verdict": "watch", "document": document}

    @app.get("/v1/reports")
    async def reports() -> ReportList:
        return ReportList.model_validate({"items": [kept]})

    @app.post("/v1/reports", status_code=202)
    async def request(wanted: ReportRequest) -> ReportRequest:
        return wanted

    @app.get("/v1/reports/{month}", response_model=None)
    async def report(month: str, format: str = "json") -> ReportOut | HTMLResponse:  # noqa: A002
        found = _found({"2026-10": kept}, month)
        if format == "html":
            return HTMLResponse("<!doctype html>")
        return ReportOut.model_validate(found)


def cut_short() -> Response:
    """Return a response that breaks off in the middle."""
    return Response(b'{"id":', headers={"Content-Length": "1000"})


def busy(seconds: int = 1, status: int = 503) -> Response:
    """Return a response with a Retry-After header."""
    headers = {"Retry-After": str(seconds)}
    return problem(status, "Not now", "Too much to do", headers=headers)


async def _note(service: FakeService, form: Any) -> str:
    """Record the request and return the name of the first file."""
    service.forms.append({name: one for name, one in form.items() if isinstance(one, str)})
    names = [""]
    for part in form.values():
        if isinstance(part, UploadFile):
            content = hashlib.sha256()
            while piece := await part.read(1 << 20):
                content.update(piece)
            service.bodies.append(content.hexdigest())
            names.append(part.filename or "")
    return names[1] if len(names) > 1 else ""


def _found(kept: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
    if key not in kept:
        raise HTTPException(404, f"No such thing: {key}")
    return kept[key]


def _shown(catalog: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in catalog.items() if name != "polls"}
