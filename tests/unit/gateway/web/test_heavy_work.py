"""Long requests are limited for each user, and work step by step in turn."""

from collections.abc import Iterator

import anyio
import pytest

from gateway.web import heavy_work
from gateway.web.heavy_work import UNITS_OF_USER, HeavyWork
from shared.db.models import Catalog, Role
from shared.errors import Limited
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    send,
    show,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import Api

HEADER = "designation,productid,imageid"


@pytest.fixture
def catalog(api: Api, feeder: Feeders) -> tuple[dict[str, str], str]:
    """Return the headers of a user and the path of that user's running catalog."""
    mine = api.sign(api.user(username="ada"))
    catalog_id = send(api, mine, table(["A", "71", "1"], header=HEADER))["id"]
    running = feeder()
    step_until_checked(api, running, catalog_id)
    running.step()
    return mine, f"/v1/catalogs/{catalog_id}"


@pytest.mark.parametrize("what", ["results", "results?format=jsonl", "errors", "labels"])
def test_user_with_too_many_long_requests_is_refused(
    api: Api, catalog: tuple[dict[str, str], str], what: str
) -> None:
    mine, path = catalog
    owner = api.get(Catalog, path.rpartition("/")[2])
    assert owner is not None
    method = "POST" if what == "labels" else "GET"
    # A form that cannot be parsed shows that the request is refused before its body is read.
    body = {"Content-Type": "multipart/form-data"} if what == "labels" else {}
    with api.services.heavy_work.counted(owner.user_id, UNITS_OF_USER):
        answer = api.client.request(method, f"{path}/{what}", headers={**mine, **body})
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10")
        assert f"at most {UNITS_OF_USER} downloads" in answer.json()["detail"]
        # Short requests, and the long ones of others, are not concerned.
        assert show(api, mine, path.rpartition("/")[2])["status"] == "running"
        root = api.sign(api.user(Role.ADMIN))
        assert api.client.get(f"{path}/results", headers=root).status_code == 200


@pytest.mark.parametrize("what", ["results", "results?format=jsonl", "errors"])
def test_download_is_counted_until_its_end(
    api: Api, catalog: tuple[dict[str, str], str], what: str
) -> None:
    mine, path = catalog
    for _ in range(UNITS_OF_USER + 1):
        assert api.client.get(f"{path}/{what}", headers=mine).status_code == 200
    assert not api.services.heavy_work.units


def test_labels_are_counted_until_their_end_or_their_error(
    api: Api, catalog: tuple[dict[str, str], str]
) -> None:
    mine, path = catalog
    for content, status in (("productid,prdtypecode\n71,10\n", 200), ("a,b\n1,2\n", 422)) * 3:
        files = {"labels": ("labels.csv", content.encode())}
        answer = api.client.post(f"{path}/labels", headers=mine, files=files)
        assert answer.status_code == status, answer.text
    assert not api.services.heavy_work.units


def test_units_are_counted_for_each_user() -> None:
    work = HeavyWork()
    with work.counted("ada", UNITS_OF_USER), work.counted("eve", UNITS_OF_USER):  # noqa: SIM117
        with pytest.raises(Limited):
            work.counted("ada", 1).__enter__()
    with work.counted("ada", UNITS_OF_USER):
        pass
    assert not work.units


def test_units_of_a_request_are_returned_after_an_error() -> None:
    work = HeavyWork()
    with pytest.raises(ValueError, match="broke off"), work.counted("ada", UNITS_OF_USER):
        raise ValueError("It broke off")
    assert not work.units


def test_steps_of_long_requests_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    # One at once, because the order in which two threads run says nothing.
    monkeypatch.setattr(heavy_work, "STEPS_AT_ONCE", 1)
    order: list[str] = []

    async def run(work: HeavyWork, name: str) -> None:
        def steps() -> Iterator[int]:
            for number in range(3):
                order.append(name)
                yield number

        assert [number async for number in work.steps(steps())] == [0, 1, 2]

    async def run_all() -> None:
        work = HeavyWork()
        async with anyio.create_task_group() as group:
            for name in "abcdefgh":
                group.start_soon(run, work, name)

    anyio.run(run_all)
    # No request takes a second step before every other has begun.
    assert sorted(order[:8]) == [*"abcdefgh"]
