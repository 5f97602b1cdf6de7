"""Performance measurements over HTTP."""

from datetime import UTC, datetime
from typing import Any

from shared.db.models import Performance, Role
from tests.unit.gateway.conftest import Api

PATH = "/v1/performance"


def measurement(**changes: Any) -> Performance:
    fields: dict[str, Any] = {
        "kind": "test",
        "release": "1",
        "modality": "fusion",
        "rows": 100,
        "f1": 0.8,
        "classes": {"10": {"f1": 0.8, "rows": 100}},
    }
    return Performance(**{**fields, **changes})


def test_measurements_are_listed_newest_first_and_filtered(api: Api) -> None:
    operator = api.sign(api.user(Role.OPERATOR))
    november = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    api.add(measurement(), measurement(modality="text"), measurement(release="2"))
    api.add(
        measurement(
            kind="estimated", begins_at=november[0], ends_at=november[1], low=0.7, high=0.9
        ),
    )
    found = api.client.get(PATH, headers=operator).json()["items"]
    assert [item["kind"] for item in found] == ["estimated", "test", "test", "test"]
    assert (found[0]["begins_at"], found[0]["low"]) == ("2026-11-01T00:00:00Z", 0.7)
    assert found[0]["classes"] == {"10": {"f1": 0.8, "rows": 100}}
    for query, count in (({"kind": "test"}, 3), ({"modality": "text"}, 1), ({"release": "1"}, 3)):
        assert len(api.client.get(PATH, headers=operator, params=query).json()["items"]) == count
    assert api.client.get(PATH, headers=operator, params={"kind": "other"}).status_code == 422


def test_pages_return_every_measurement_once(api: Api) -> None:
    operator = api.sign(api.user(Role.OPERATOR))
    for rows in range(5):
        api.add(measurement(rows=rows))
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = api.client.get(PATH, headers=operator, params=query).json()
        seen += [item["rows"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [4, 3, 2, 1, 0]
    assert api.client.get(PATH, headers=operator, params={"cursor": "x"}).status_code == 422
