"""The bucket of an object store of one's own."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.compose import bucket


class FakeStore:
    """An object store that does not answer at first."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.buckets: list[str] = []

    def exists(self, name: str) -> bool:
        """Return True if a bucket exists. Raises `ConnectionError` while the store is down."""
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("refused")
        return name in self.buckets

    def mkdir(self, name: str) -> None:
        """Make a bucket."""
        self.buckets.append(name)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], FakeStore]:
    def start(refusals: int) -> FakeStore:
        store = FakeStore(refusals)

        def found(url: str) -> tuple[Any, str]:
            return store, url.removeprefix("s3://")

        monkeypatch.setattr(bucket, "url_to_fs", found)
        monkeypatch.setattr(bucket, "PAUSE_SECONDS", 0.0)
        monkeypatch.setenv("RAYON_STORAGE_URL", "s3://rayon/storage")
        return store

    return start


def test_unreachable_store_is_retried(serve: Callable[[int], FakeStore]) -> None:
    store = serve(3)
    assert bucket.main() == 0
    assert store.buckets == ["rayon"]


def test_existing_bucket_is_kept(serve: Callable[[int], FakeStore]) -> None:
    store = serve(0)
    assert [bucket.main(), bucket.main()] == [0, 0]
    assert store.buckets == ["rayon"]


def test_store_that_never_answers_is_an_error(
    serve: Callable[[int], FakeStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(1_000)
    monkeypatch.setattr(bucket, "PATIENCE_SECONDS", 0.0)
    assert bucket.main() == 1
