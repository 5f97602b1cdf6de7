"""Frozen records of the service's answers.

Each keeps the original JSON object in `raw`, so that fields added by a newer service are not lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

JsonObject = Mapping[str, Any]
JobStatus = Literal["queued", "done", "failed", "cancelled"]
ModelName = Literal["fusion", "text", "image"]


@dataclass(frozen=True)
class Choice:
    """Candidate category with its probability."""

    prdtypecode: int
    category: str
    probability: float


@dataclass(frozen=True)
class Vote:
    """Prediction of a single modality."""

    prdtypecode: int
    confidence: float


@dataclass(frozen=True)
class Answer:
    """The category of a product.

    Attributes:
        prdtypecode: Code of the category.
        category: Name of the category.
        confidence: Calibrated probability from 0 to 1.
        top: Most probable categories, best first.
        modalities: Prediction of each modality alone, keyed by `text` and `image`.
        degraded: Code of the reason why a modality is missing from the answer, if one is.
        degraded_message: Sentence that explains `degraded`.
        job_id: ID of the answered job.
        novelty: How foreign the answer looks, 0 to 1; `None` if the release cannot tell.
        is_foreign: True if the product may belong to none of the categories.
    """

    prdtypecode: int
    category: str
    confidence: float
    top: tuple[Choice, ...]
    modalities: Mapping[str, Vote]
    degraded: str | None
    job_id: str
    degraded_message: str | None = None
    novelty: float | None = None
    is_foreign: bool | None = None

    @classmethod
    def read(cls, body: JsonObject, job_id: str) -> "Answer":
        """Parse the `result` of a job."""
        return cls(
            prdtypecode=body["prdtypecode"],
            category=body["category"],
            confidence=body["confidence"],
            top=tuple(
                Choice(one["prdtypecode"], one["category"], one["probability"])
                for one in body.get("top", ())
            ),
            modalities={
                name: Vote(vote["prdtypecode"], vote["confidence"])
                for name, vote in body.get("modalities", {}).items()
            },
            degraded=body.get("degraded"),
            job_id=job_id,
            degraded_message=body.get("degraded_message"),
            novelty=body.get("novelty"),
            is_foreign=body.get("is_foreign"),
        )


@dataclass(frozen=True)
class Explanation:
    """Explanation of the answer to a job.

    Attributes:
        status: `queued`, `done` or `failed`.
        prdtypecode: Code of the category of the answer.
        category: Name of the category of the answer.
        probabilities: Probability of the category by each modality alone.
        words: Effect of words of the product, in order: the fall of the log-odds without them.
        grid: Effect of each cell of the image, by row and column; empty without an image.
        error: Reason why a modality could not be explained; `None` without one.
        raw: Body of the response.
    """

    status: Literal["queued", "done", "failed"]
    prdtypecode: int
    category: str
    probabilities: Mapping[str, float]
    words: Mapping[str, float]
    grid: tuple[tuple[float, ...], ...]
    error: str | None
    raw: JsonObject = field(repr=False)

    @property
    def strongest_cell(self) -> tuple[int, int] | None:
        """Row and column of the cell that speaks most for the category, from 1; or `None`."""
        cells = {
            (row, column): effect
            for row, line in enumerate(self.grid, 1)
            for column, effect in enumerate(line, 1)
        }
        best = max(cells, key=lambda cell: cells[cell], default=None)
        return best if best and cells[best] > 0 else None

    @classmethod
    def read(cls, body: JsonObject) -> "Explanation":
        """Parse a response."""
        parts = {name: body[name] for name in ("text", "image") if body.get(name)}
        text = parts.get("text", {})
        errors = [part["error"]["message"] for part in parts.values() if part.get("error")]
        return cls(
            status=body["status"],
            prdtypecode=body["prdtypecode"],
            category=body["category"],
            probabilities={
                name: part["probability"]
                for name, part in parts.items()
                if part.get("probability") is not None
            },
            words={
                one["text"]: one["effect"]
                for one in (*text.get("designation", ()), *text.get("description", ()))
            },
            grid=tuple(tuple(row) for row in parts.get("image", {}).get("grid", ())),
            error=errors[0] if errors else None,
            raw=body,
        )


@dataclass(frozen=True)
class Fault:
    """Error of a failed job or catalog."""

    code: str
    message: str

    @classmethod
    def read(cls, body: JsonObject | None) -> "Fault | None":
        """Parse an `error` object; return None if there is none."""
        return cls(body["code"], body.get("message", "")) if body else None


@dataclass(frozen=True)
class Job:
    """One product and, once it is final, its answer or its error."""

    id: str
    status: JobStatus
    model: ModelName
    release: str
    created_at: datetime
    finished_at: datetime | None
    answer: Answer | None
    error: Fault | None
    label: int | None
    raw: JsonObject = field(repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """True once the status can no longer change."""
        return self.status != "queued"

    @classmethod
    def read(cls, body: JsonObject) -> "Job":
        """Parse a job."""
        result = body.get("result")
        return cls(
            id=body["id"],
            status=body["status"],
            model=body["model"],
            release=body["release"],
            created_at=datetime.fromisoformat(body["created_at"]),
            finished_at=moment(body.get("finished_at")),
            answer=Answer.read(result, body["id"]) if result else None,
            error=Fault.read(body.get("error")),
            label=body.get("label"),
            raw=body,
        )


@dataclass(frozen=True)
class Account:
    """The signed-in account."""

    username: str
    role: str
    raw: JsonObject = field(repr=False, compare=False)


@dataclass(frozen=True)
class Category:
    """Category that a release can predict."""

    prdtypecode: int
    category: str


@dataclass(frozen=True)
class Release:
    """One release of the models.

    Attributes:
        rejected: Reason why it may never serve, if it was rejected.
        is_serving: True if new jobs get it.
        outcome: Outcome of its comparison with the champion: `better`, `not better`, `undecided`
            or another one; None without a comparison.
        watch: State of the watch over its first answers: `watching`, `passed`, `rolled_back` or
            another one; None without a watch.
    """

    version: str
    aliases: tuple[str, ...]
    created_at: datetime
    description: str
    figures: Mapping[str, float]
    rejected: str | None
    raw: JsonObject = field(repr=False, compare=False)
    is_serving: bool = False
    outcome: str | None = None
    watch: str | None = None

    @classmethod
    def read(cls, body: JsonObject) -> "Release":
        """Parse a release."""
        return cls(
            version=body["version"],
            aliases=tuple(body["aliases"]),
            created_at=datetime.fromisoformat(body["created_at"]),
            description=body.get("description", ""),
            figures=body.get("figures", {}),
            rejected=body.get("rejected"),
            raw=body,
            is_serving=body.get("serving", "champion" in body["aliases"]),
            outcome=(body.get("verdict") or {}).get("outcome"),
            watch=(body.get("watch") or {}).get("state"),
        )


def moment(text: str | None) -> datetime | None:
    """Parse an ISO 8601 time; return None if there is none."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class Report:
    """Monthly report with its verdict; `raw["document"]` has everything on its page."""

    month: str
    made_at: datetime
    verdict: str
    sentence: str
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, body: JsonObject) -> "Report":
        """Parse a report; `sentence` is empty for an entry of the list."""
        verdict = body.get("document", {}).get("verdict", {})
        return cls(
            month=body["month"],
            made_at=datetime.fromisoformat(body["made_at"]),
            verdict=body["verdict"],
            sentence=verdict.get("sentence", ""),
            raw=body,
        )


@dataclass(frozen=True)
class RejectedLabel:
    """Rejected row of a label file; `row` and `line` count within that file."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class NewCategory:
    """Code of a label file that the release does not have, and the number of rows with it."""

    prdtypecode: int
    rows: int


@dataclass(frozen=True)
class LabelReport:
    """Outcome of a label file.

    Attributes:
        skipped: Rows without a code.
        problems: The first thousand rejected rows.
        new_categories: Codes that the release does not have, rarest first; a thousand at most.
    """

    rows: int
    taken: int
    skipped: int
    rejected: int
    problems: tuple[RejectedLabel, ...]
    new_categories: tuple[NewCategory, ...]
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, body: JsonObject) -> "LabelReport":
        """Parse a label report."""
        return cls(
            rows=body["rows"],
            taken=body["taken"],
            skipped=body["skipped"],
            rejected=body["rejected"],
            problems=tuple(
                RejectedLabel(one["row"], one["line"], one["column"], one["value"], one["reason"])
                for one in body["problems"]
            ),
            # Services of earlier versions do not return them.
            new_categories=tuple(
                NewCategory(one["prdtypecode"], one["rows"])
                for one in body.get("new_categories", ())
            ),
            raw=body,
        )
