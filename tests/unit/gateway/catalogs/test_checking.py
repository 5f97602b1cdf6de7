"""Checks of uploads, and the opening of their files, do not delay those of other users."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest

from gateway.catalogs import checking, held_catalogs
from gateway.catalogs.feeder import Feeder
from gateway.catalogs.files import CatalogFiles, Recall
from gateway.catalogs.inspection import Finding
from gateway.catalogs.row_check import Terms
from shared.db.models import Catalog
from shared.errors import Unavailable
from tests.unit.gateway.catalogs.catalog_system import (
    PATIENCE_SECONDS,
    STEP_SECONDS,
    Feeders,
    jobs_of,
    send,
    show,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import Api

ROWS = table(["A", "", ""])


class HeldChecks:
    """Checks that begin in any order and wait until they are released."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.held: set[str] = set()
        self.free = threading.Event()

    @contextmanager
    def of(self, *catalog_ids: str) -> Iterator[None]:
        """Hold the checks of some catalogs until the block ends."""
        self.held.update(catalog_ids)
        try:
            yield
        finally:
            self.free.set()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> HeldChecks:
    found, original = HeldChecks(), CatalogFiles.inspect

    def inspect(
        files: CatalogFiles,
        catalog: Catalog,
        report: Mapping[str, Any],
        terms: Terms,
        recall: Recall,
    ) -> Finding:
        found.begun.append(catalog.id)
        if catalog.id in found.held:
            found.free.wait(PATIENCE_SECONDS)
        return original(files, catalog, report, terms, recall)

    monkeypatch.setattr(CatalogFiles, "inspect", inspect)
    return found


def step_until_begun(running: Feeder, checks: HeldChecks, catalog_id: str) -> None:
    """Step until a catalog's check has begun."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while catalog_id not in checks.begun:
        assert time.monotonic() < deadline, "the check did not begin in time"
        running.step()
        time.sleep(STEP_SECONDS)


def resize(api: Api, catalog_id: str, size: int) -> None:
    with api.unit_of_work() as work:
        catalog = work.session.get(Catalog, catalog_id)
        assert catalog is not None
        catalog.size = size


def test_catalogs_of_one_user_do_not_delay_the_check_of_another(
    api: Api, mine: dict[str, str], feeder: Feeders, checks: HeldChecks
) -> None:
    first, second, third = (send(api, mine, ROWS)["id"] for _ in range(3))
    theirs = api.sign(api.user())
    other = send(api, theirs, ROWS)["id"]
    running = feeder()
    with checks.of(first, second, third):
        step_until_checked(api, running, other)
        step_until_begun(running, checks, first)
        # A user's checks run one after another.
        assert sorted(checks.begun) == sorted([first, other])
        assert show(api, mine, first)["status"] == "validating"
    for id_ in (first, second, third):
        step_until_checked(api, running, id_)


def test_large_uploads_leave_a_thread_to_small_ones(
    api: Api, feeder: Feeders, checks: HeldChecks
) -> None:
    large = [send(api, api.sign(api.user()), ROWS)["id"] for _ in range(checking.THREADS)]
    for id_ in large:
        resize(api, id_, checking.LARGE_BYTES + 1)
    small = send(api, api.sign(api.user()), ROWS)["id"]
    running = feeder()
    with checks.of(*large):
        step_until_checked(api, running, small)
        for id_ in large[: checking.LARGE_AT_ONCE]:
            step_until_begun(running, checks, id_)
        assert sorted(checks.begun) == sorted([*large[: checking.LARGE_AT_ONCE], small])
    for id_ in large:
        step_until_checked(api, running, id_)


def test_users_take_turns(
    api: Api, feeder: Feeders, checks: HeldChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "THREADS", 1)
    signed = [api.sign(api.user()) for _ in range(2)]
    mine = [send(api, signed[0], ROWS)["id"] for _ in range(3)]
    theirs = [send(api, signed[1], ROWS)["id"] for _ in range(2)]
    running = feeder()
    for id_ in (*mine, *theirs):
        step_until_checked(api, running, id_)
    assert checks.begun == [mine[0], theirs[0], mine[1], theirs[1], mine[2]]


class HeldOpening:
    """The opening of the files of large catalogs, which waits until it is released."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.opened: list[BinaryIO] = []
        self.took_too_long = False


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldOpening]:
    found, original = HeldOpening(), CatalogFiles.products

    def products(files: CatalogFiles, catalog: Catalog, *rest: Any) -> BinaryIO:
        file = original(files, catalog, *rest)
        if catalog.status == "running" and catalog.size > checking.LARGE_BYTES:
            found.opened.append(file)
            found.took_too_long |= not found.free.wait(PATIENCE_SECONDS)
        return file

    monkeypatch.setattr(CatalogFiles, "products", products)
    yield found
    found.free.set()


def step_until(running: Feeder, is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "it did not become true in time"
        running.step()
        time.sleep(STEP_SECONDS)


def test_opening_of_large_files_does_not_delay_the_rows_of_others(
    api: Api, mine: dict[str, str], feeder: Feeders, opening: HeldOpening
) -> None:
    large = send(api, mine, ROWS)["id"]
    resize(api, large, checking.LARGE_BYTES + 1)
    small = send(api, api.sign(api.user()), ROWS)["id"]
    running = feeder()
    for id_ in (large, small):
        step_until_checked(api, running, id_)
    step_until(running, lambda: bool(opening.opened and jobs_of(api, small)))
    assert jobs_of(api, large) == []
    assert not opening.took_too_long
    opening.free.set()
    step_until(running, lambda: bool(jobs_of(api, large)))


def test_files_that_were_opened_in_vain_are_closed(
    api: Api, mine: dict[str, str], feeder: Feeders, opening: HeldOpening
) -> None:
    large = send(api, mine, ROWS)["id"]
    resize(api, large, checking.LARGE_BYTES + 1)
    running = feeder()
    step_until_checked(api, running, large)
    step_until(running, lambda: bool(opening.opened))
    assert api.client.delete(f"/v1/catalogs/{large}", headers=mine).status_code == 200
    running.step()
    assert not opening.took_too_long
    opening.free.set()
    step_until(running, lambda: opening.opened[0].closed)


def test_failed_opening_is_repeated(
    api: Api,
    mine: dict[str, str],
    feeder: Feeders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed: list[str] = []
    original = CatalogFiles.archive

    def archive_of(files: CatalogFiles, catalog: Catalog, stack: Any) -> Any:
        if catalog.status == "running" and not failed:
            failed.append(catalog.id)
            raise Unavailable("The storage does not answer")
        return original(files, catalog, stack)

    monkeypatch.setattr(CatalogFiles, "archive", archive_of)
    monkeypatch.setattr(held_catalogs, "DEFER_SECONDS", 0.01)
    large = send(api, mine, ROWS)["id"]
    resize(api, large, checking.LARGE_BYTES + 1)
    running = feeder()
    step_until_checked(api, running, large)
    step_until(running, lambda: bool(jobs_of(api, large)))
    assert failed == [large]
