"""Python client for Rayon, which assigns a category to a shop's products.

from rayon import Rayon

with Rayon("https://rayon.example.com", key) as rayon:
    print(rayon.classify("Piscine gonflable ronde").category)
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayon.answers import (
        Account,
        Answer,
        Category,
        Choice,
        Explanation,
        Job,
        LabelReport,
        NewCategory,
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
    from rayon.precision import CategoryPrecision, LabelEvidence, Precision
    from rayon.row_messages import RowMessage
    from rayon.training import TrainingRun

__all__ = [
    "Account",
    "Answer",
    "Catalog",
    "Category",
    "CategoryPrecision",
    "Choice",
    "Counts",
    "Dataset",
    "DatasetVersion",
    "DeadLetter",
    "Explanation",
    "Failed",
    "FieldError",
    "Finding",
    "Job",
    "LabelEvidence",
    "LabelReport",
    "Limited",
    "NewCategory",
    "Precision",
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

#: Modules that define the public names. A module is imported when one of its names is first used,
#: so that a command loads only what it needs.
_MODULES = {
    "answers": "Account Answer Category Choice Explanation Job LabelReport NewCategory "
    "RejectedLabel Release Vote",
    "catalogs": "Catalog Counts Progress RefusedImage",
    "client": "Rayon",
    "datasets": "Dataset DatasetVersion Finding",
    "errors": "Failed FieldError Limited RayonError Refused SignedOut Unfinished Unreachable",
    "operations": "DeadLetter Queue Queues Review Worker",
    "precision": "CategoryPrecision LabelEvidence Precision",
    "row_messages": "RowMessage",
    "training": "TrainingRun",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"rayon.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
