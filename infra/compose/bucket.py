"""Makes the bucket that `RAYON_STORAGE_URL` names: `python -m infra.compose.bucket`."""

import sys

from fsspec.core import url_to_fs

from shared.settings import StorageSettings


def main() -> int:
    """Make it unless it is there; an object store that is not there yet is asked again."""
    url = StorageSettings().url
    if not url.startswith("s3://"):
        print(f"Expected RAYON_STORAGE_URL=s3://…. Received: {url}", file=sys.stderr)  # noqa: T201
        return 0
    files, path = url_to_fs(url)
    bucket = path.partition("/")[0]
    if not files.exists(bucket):
        files.mkdir(bucket)
    return 0


if __name__ == "__main__":
    sys.exit(main())
