"""Exceptions from the limits, each with its reason."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """Text that may stand in some files.

    Attributes:
        path: Pattern of the files' paths.
        text: Pattern of the allowed text.
        reason: Why it stays.
    """

    path: str
    text: str
    reason: str

    def covers(self, path: str, text: str, at: int = 0) -> bool:
        """Return True if the allowed text includes this position."""
        if not re.search(self.path, path):
            return False
        return any(one.start() <= at < one.end() for one in re.finditer(self.text, text))


LATE_IMPORTS = (
    Allowed(
        r"^(trainer|infra/backup)/__main__\.py$",
        r".*",
        "A command imports only what it runs: TensorFlow takes seconds to import, and a backup of "
        "the Compose system runs without this project's requirements",
    ),
    Allowed(
        r"^shared/client/rayon/client\.py$",
        r".*",
        "A command of `rayon` loads only the parts that it uses, so that it starts quickly",
    ),
    Allowed(
        r"^shared/db/stalls\.py$",
        r"from shared\.db\.postgresql import .*",
        "Without PostgreSQL its driver is not loaded, which takes 5 MiB in each process",
    ),
    Allowed(
        r"^trainer/datasets/check_queue\.py$",
        r"from trainer\.datasets\.builder import build",
        "A trainer without work does without pandas, which takes 40 MiB",
    ),
)

#: `image` is the word of this project. These names are older, and stored or used outside the code.
PICTURES = (
    Allowed(r"/migrations/versions/", r".*", "A migration that has run does not change"),
    Allowed(
        r"^shared/tables/columns\.py$|^tests/unit/gateway/(jobs/test_job_bodies|web/test_forms)\.py$",
        r'"pictures?"',
        "Names that shops give to columns and fields",
    ),
    Allowed(
        r"^tests/bench/attacks/disk\.py$", r'"pictures"', "Folder of images in earlier versions"
    ),
    Allowed(
        r"^shared/db/models/",
        r'mapped_column\("pictures"',
        "Column of the table of dataset versions",
    ),
    Allowed(
        r"dataset",
        r'\bpictures: int\b|alias="pictures"|report\["pictures"\]',
        "Field of a dataset version in the HTTP API, and of its stored report",
    ),
    Allowed(
        r"^trainer/datasets/",
        r'[A-Z]\w* = "picture"',
        "Column of the Parquet file of a stored dataset version",
    ),
    Allowed(
        r"",
        r'["`](no|missing|unreadable|no_readable)_pictures["`]',
        "Codes of findings in stored dataset reports, which the HTTP API returns",
    ),
    Allowed(
        r"^(gateway|shared/db|tests)/",
        r'[A-Z]\w* = "pictures"|"pictures/|/pictures[/"]|== "pictures"',
        "Folders of the storage: `pictures/` and `datasets/<name>/pictures/`",
    ),
    Allowed(
        r"^tests/.*dataset",
        r'"a/b", "pictures"',
        "No dataset may have the name of the folder of its images",
    ),
    Allowed(
        r"^shared/client/rayon/datasets\.py$",
        r'body\.get\("pictures"\)',
        "Number of images of a dataset in the HTTP API",
    ),
    Allowed(
        r"^shared/inference/",
        r'[A-Z]\w* = "pictures"',
        "Input of the ONNX graphs of every release",
    ),
    Allowed(
        r"^gateway/",
        r'operation_id="picture_\w+"',
        "Operation of the OpenAPI document, from which clients are generated",
    ),
    Allowed(
        r"",
        r"RAYON_RETENTION_PICTURE_DAYS",
        "Deprecated alias of RAYON_RETENTION_IMAGE_DAYS",
    ),
    Allowed(
        r"^(shared/client/rayon/client\.py$|tests/unit/client/)",
        r"\breview_picture\b",
        "Deprecated alias of `Rayon.review_image` in the Python client",
    ),
)

#: Files that contain the word because they search for it.
SEARCHING = r"^(infra/ci/structure/|tests/unit/infra/ci/test_structure\.py$)"


def is_allowed(exceptions: tuple[Allowed, ...], path: str, text: str, at: int = 0) -> bool:
    """Return True if an exception covers this position of a text."""
    return any(one.covers(path, text, at) for one in exceptions)
