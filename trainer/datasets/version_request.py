"""Sources of a version of a dataset."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trainer.datasets.labelled.authors import Author, LabelLimits


@dataclass(frozen=True)
class LabelledJob:
    """A job with the category that a person assigned."""

    id: str
    designation: str
    description: str
    image_uri: str | None
    code: int
    #: ID of the person's account.
    author: str
    #: Number of answers that the label stands for, if the answer was drawn for review; else 0.
    represents: float = 0.0
    #: Time of the answer, in seconds since the epoch; 0 if it is unknown.
    answered_at: float = 0.0
    #: Category that the model answered, and its confidence; `None` without an answer.
    answer: int | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class VersionRequest:
    """Sources of a new version.

    Attributes:
        id: Id of the version's row, under which its uploads are stored.
        base: Earlier version whose rows stay unless they are replaced or removed.
        files: Uploaded kinds out of `products`, `labels`, `images`, `categories`.
        remove: Ids of rows to leave out.
        jobs: Labelled jobs to add; each becomes a row with its own id.
        authors: Accounts by id whose labels may train; rows labelled by others are left out.
        limits: Limits of the rows with labels of one author.
        authors_of_jobs: Looks the authors up of job rows in versions that did not store them.
        attempt: Number of the attempt, from 1.
    """

    id: str
    name: str
    version: int
    base: int | None = None
    files: Sequence[str] = ()
    remove: Sequence[str] = ()
    jobs: Iterable[LabelledJob] = ()
    authors: Mapping[str, Author] = field(default_factory=dict)
    limits: LabelLimits = field(default_factory=LabelLimits)
    authors_of_jobs: Callable[[Sequence[str]], Mapping[str, str]] = lambda _job_ids: {}
    attempt: int = 1
