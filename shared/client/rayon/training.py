"""Training runs: request one, follow it, cancel it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import quote

from rayon.answers import JsonObject, moment
from rayon.connection import Connection

RunStatus = Literal["queued", "running", "finished", "failed", "cancelled"]
#: Interval between two looks at a run.
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class TrainingRun:
    """Snapshot of a training run.

    Attributes:
        stage: Name of the current or last step, for people.
        done: Number of finished steps.
        of: Expected number of steps; 0 while it is unknown.
        part: Images or epochs of the current step that are done, if they are known.
        parts: All images or epochs of the current step; 0 while they are unknown.
        unit: `images` or `epochs`.
        seconds_left: Estimated time to the end of the current step.
        version: Version of the resulting release.
        sentence: Outcome of the comparison with the release that serves.
        log: Last lines of the log.
    """

    id: str
    status: RunStatus
    dataset: str | None
    reason: str
    requested_at: datetime
    requested_by: str
    started_at: datetime | None
    finished_at: datetime | None
    stage: str | None
    done: int
    of: int
    part: int
    parts: int
    unit: str
    seconds_left: float | None
    version: str | None
    sentence: str | None
    message: str | None
    log: tuple[str, ...]
    raw: JsonObject = field(repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """True once the status can no longer change."""
        return self.status in ("finished", "failed", "cancelled")

    @classmethod
    def read(cls, body: JsonObject) -> "TrainingRun":
        """Parse a training run."""
        progress = body.get("progress") or {}
        return cls(
            id=body["id"],
            status=body["status"],
            dataset=body.get("dataset"),
            reason=body.get("reason") or "",
            requested_at=datetime.fromisoformat(body["requested_at"]),
            requested_by=body.get("requested_by") or "",
            started_at=moment(body.get("started_at")),
            finished_at=moment(body.get("finished_at")),
            stage=body.get("stage") or body.get("step"),
            done=progress.get("done", 0),
            of=progress.get("of", 0),
            part=progress.get("part", 0),
            parts=progress.get("parts", 0),
            unit=progress.get("unit", ""),
            seconds_left=progress.get("seconds_left"),
            version=body.get("version"),
            sentence=(body.get("verdict") or {}).get("sentence"),
            message=body.get("message"),
            log=tuple((body.get("log_tail") or "").splitlines()),
            raw=body,
        )


class Training:
    """The training runs of the service; `Rayon.training`. Requires the operator role."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[TrainingRun]:
        """Iterate over the newest runs, newest first."""
        for one in self._connection.json("GET", "/v1/training-runs")["items"]:
            yield TrainingRun.read(one)

    def request(self, dataset: str | None, reason: str) -> TrainingRun:
        """Request a run on a dataset, `name` or `name@version`.

        Without a dataset, the trainer's own data folder is used.
        """
        wanted = {"reason": reason, "dataset": dataset}
        return TrainingRun.read(self._connection.json("POST", "/v1/training-runs", json=wanted))

    def find(self, run_id: str) -> TrainingRun:
        """Return a run by its ID."""
        return TrainingRun.read(self._connection.json("GET", _path(run_id)))

    def cancel(self, run_id: str) -> TrainingRun:
        """Cancel a run. A running one ends within seconds; a final one is unchanged."""
        return TrainingRun.read(self._connection.json("DELETE", _path(run_id)))

    def wait(
        self, run: TrainingRun, on_run: Callable[[TrainingRun], None] | None = None
    ) -> TrainingRun:
        """Wait until a run is final and return its latest state.

        Args:
            run: The run.
            on_run: Called with each new state, about once a second.
        """
        while True:
            if on_run:
                on_run(run)
            if run.is_final:
                return run
            time.sleep(POLL_SECONDS)
            run = self.find(run.id)


def _path(run_id: str) -> str:
    return f"/v1/training-runs/{quote(run_id, safe='')}"
