"""What the service answers, as frozen records.

Each keeps in `raw` what came, so that fields of a newer service are not lost.
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
    """One category an answer considers."""

    prdtypecode: int
    category: str
    probability: float


@dataclass(frozen=True)
class Vote:
    """What one modality alone would have said."""

    prdtypecode: int
    confidence: float


@dataclass(frozen=True)
class Answer:
    """The category of a product.

    Attributes:
        prdtypecode: The category's code.
        category: Its name.
        confidence: From 0 to 1, calibrated.
        top: The most probable categories, best first.
        modalities: By `text` and `image`, what each alone would have said.
        degraded: Why a modality is missing from the answer, if one is.
        job_id: The job this is the answer of.
    """

    prdtypecode: int
    category: str
    confidence: float
    top: tuple[Choice, ...]
    modalities: Mapping[str, Vote]
    degraded: str | None
    job_id: str

    @classmethod
    def read(cls, said: JsonObject, job_id: str) -> "Answer":
        """Take the answer out of a job's `result`."""
        return cls(
            prdtypecode=said["prdtypecode"],
            category=said["category"],
            confidence=said["confidence"],
            top=tuple(
                Choice(one["prdtypecode"], one["category"], one["probability"])
                for one in said.get("top", ())
            ),
            modalities={
                name: Vote(vote["prdtypecode"], vote["confidence"])
                for name, vote in said.get("modalities", {}).items()
            },
            degraded=said.get("degraded"),
            job_id=job_id,
        )


@dataclass(frozen=True)
class Fault:
    """Why a job or a catalog failed."""

    code: str
    message: str

    @classmethod
    def read(cls, said: JsonObject | None) -> "Fault | None":
        """Take it out of an `error`, where there is one."""
        return cls(said["code"], said.get("message", "")) if said else None


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
        """Whether nothing will change any more."""
        return self.status != "queued"

    @classmethod
    def read(cls, said: JsonObject) -> "Job":
        """Take a job out of what the service said."""
        result = said.get("result")
        return cls(
            id=said["id"],
            status=said["status"],
            model=said["model"],
            release=said["release"],
            created_at=datetime.fromisoformat(said["created_at"]),
            finished_at=moment(said.get("finished_at")),
            answer=Answer.read(result, said["id"]) if result else None,
            error=Fault.read(said.get("error")),
            label=said.get("label"),
            raw=said,
        )


@dataclass(frozen=True)
class Account:
    """Who is signed in."""

    username: str
    role: str
    raw: JsonObject = field(repr=False, compare=False)


@dataclass(frozen=True)
class Category:
    """A category that can be predicted."""

    prdtypecode: int
    category: str


@dataclass(frozen=True)
class Release:
    """One release of the models."""

    version: str
    aliases: tuple[str, ...]
    created_at: datetime
    description: str
    figures: Mapping[str, float]
    rejected: str | None
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, said: JsonObject) -> "Release":
        """Take a release out of what the service said."""
        return cls(
            version=said["version"],
            aliases=tuple(said["aliases"]),
            created_at=datetime.fromisoformat(said["created_at"]),
            description=said.get("description", ""),
            figures=said.get("figures", {}),
            rejected=said.get("rejected"),
            raw=said,
        )


def moment(text: str | None) -> datetime | None:
    """Read a point in time, where there is one."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class Report:
    """A month's report: the verdict, and everything that its page shows in `raw["document"]`."""

    month: str
    made_at: datetime
    verdict: str
    sentence: str
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, said: JsonObject) -> "Report":
        """Take a report out of what the service said; a list tells no sentences."""
        verdict = said.get("document", {}).get("verdict", {})
        return cls(
            month=said["month"],
            made_at=datetime.fromisoformat(said["made_at"]),
            verdict=said["verdict"],
            sentence=verdict.get("sentence", ""),
            raw=said,
        )
