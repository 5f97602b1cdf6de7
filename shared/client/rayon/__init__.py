"""Python client for Rayon, which assigns a category to a shop's products.

from rayon import Rayon

with Rayon("https://rayon.example.com", key) as rayon:
    print(rayon.classify("Piscine gonflable ronde").category)
"""

from rayon.answers import (
    Account,
    Answer,
    Category,
    Choice,
    Job,
    LabelReport,
    RejectedLabel,
    Release,
    Vote,
)
from rayon.catalogs import Catalog, Counts, Progress, RefusedImage
from rayon.client import Rayon
from rayon.datasets import Dataset, DatasetVersion, Finding
from rayon.errors import (
    Failed,
    FieldError,
    Limited,
    RayonError,
    Refused,
    SignedOut,
    Unfinished,
    Unreachable,
)
from rayon.operations import DeadLetter, Queue, Queues, Review, Worker
from rayon.row_messages import RowMessage
from rayon.training import TrainingRun

__all__ = [
    "Account",
    "Answer",
    "Catalog",
    "Category",
    "Choice",
    "Counts",
    "Dataset",
    "DatasetVersion",
    "DeadLetter",
    "Failed",
    "FieldError",
    "Finding",
    "Job",
    "LabelReport",
    "Limited",
    "Progress",
    "Queue",
    "Queues",
    "Rayon",
    "RayonError",
    "Refused",
    "RefusedImage",
    "RejectedLabel",
    "Release",
    "Review",
    "RowMessage",
    "SignedOut",
    "TrainingRun",
    "Unfinished",
    "Unreachable",
    "Vote",
    "Worker",
]
