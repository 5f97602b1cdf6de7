"""Create the bucket of `RAYON_STORAGE_URL`: `python -m infra.compose.bucket`."""

import sys
import time

from fsspec.core import url_to_fs

from shared.invalid_settings import run_program
from shared.settings import StorageSettings

#: Time limit for an object store to become reachable.
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 1.0


def main() -> int:
    """Create the bucket if it is missing, retrying until the object store is up."""
    url = StorageSettings().url
    if not url.startswith("s3://"):
        print(f"Expected RAYON_STORAGE_URL=s3://…. Received: {url}", file=sys.stderr)  # noqa: T201
        return 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            make(url)
        except Exception as error:
            # An unreachable store raises exceptions of three libraries.
            if time.monotonic() > deadline:
                print(f"The object store does not answer: {error}", file=sys.stderr)  # noqa: T201
                return 1
            time.sleep(PAUSE_SECONDS)
        else:
            return 0


def make(url: str) -> None:
    """Create the bucket of a URL if it is missing."""
    files, path = url_to_fs(url)
    bucket = path.partition("/")[0]
    if not files.exists(bucket):
        files.mkdir(bucket)


if __name__ == "__main__":
    run_program(main)
