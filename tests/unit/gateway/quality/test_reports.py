"""Monthly reports over HTTP: listed, read as JSON and as a page, asked for."""

from datetime import UTC, datetime

import pytest

from shared.contracts import ReportRequested
from shared.db.models import AuditEntry, Report, Role, now
from tests.unit.gateway.conftest import Api

Headers = dict[str, str]
PATH = "/v1/reports"
PAGE = "<!doctype html>\n<title>Rayon</title>"


@pytest.fixture
def operator(api: Api) -> Headers:
    return api.sign(api.user(Role.OPERATOR, username="olga"))


@pytest.fixture(autouse=True)
def reports(api: Api) -> None:
    for month, verdict in (("2026-09", "healthy"), ("2026-10", "watch")):
        api.add(
            Report(
                month=month,
                made_at=datetime(2026, 11, 1, tzinfo=UTC),
                verdict=verdict,
                document={"month": month},
                page=PAGE,
            )
        )


def test_reports_are_listed_newest_first(api: Api, operator: Headers) -> None:
    items = api.client.get(PATH, headers=operator).json()["items"]
    assert [(one["month"], one["verdict"]) for one in items] == [
        ("2026-10", "watch"),
        ("2026-09", "healthy"),
    ]
    assert set(items[0]) == {"month", "made_at", "verdict"}


def test_a_month_is_read_as_json(api: Api, operator: Headers) -> None:
    found = api.client.get(f"{PATH}/2026-10", headers=operator).json()
    assert (found["verdict"], found["document"]) == ("watch", {"month": "2026-10"})


def test_a_month_is_read_as_a_page_that_may_do_nothing(api: Api, operator: Headers) -> None:
    answer = api.client.get(f"{PATH}/2026-10", params={"format": "html"}, headers=operator)
    assert answer.text == PAGE
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policies = answer.headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert "sandbox" in policies[0]
    assert "script-src" not in policies[0]


def test_a_month_without_a_report_says_how_to_get_one(api: Api, operator: Headers) -> None:
    answer = api.client.get(f"{PATH}/2026-08", headers=operator)
    assert answer.status_code == 404
    assert "POST /v1/reports" in answer.json()["detail"]
    asked = api.client.get(f"{PATH}/2026-10", params={"format": "pdf"}, headers=operator)
    assert asked.status_code == 422


def test_asking_for_a_month_tells_the_monitor(api: Api, operator: Headers) -> None:
    month = f"{now():%Y-%m}"
    answer = api.client.post(PATH, json={"month": month}, headers=operator)
    assert (answer.status_code, answer.json()) == (202, {"month": month})
    assert answer.headers["location"] == f"{PATH}/{month}"
    assert [one.month for one in api.broker.messages if isinstance(one, ReportRequested)] == [month]
    entry = api.get(AuditEntry, 1)
    assert entry is not None
    assert (entry.action, entry.actor, entry.target) == ("report.request", "olga", month)


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-1", "26-01", "2026-11-01", "", 202611, "2099-01"]
)
def test_what_is_no_month_or_has_not_begun_is_refused(
    api: Api, operator: Headers, month: object
) -> None:
    assert api.client.post(PATH, json={"month": month}, headers=operator).status_code == 422
    assert api.broker.messages == []


def test_what_is_no_month_is_told_so_and_not_how_to_ask_for_it(api: Api, operator: Headers) -> None:
    shown = api.client.get(f"{PATH}/2026-13", headers=operator)
    asked = api.client.post(PATH, json={"month": "2026-13"}, headers=operator)
    for answer in (shown, asked):
        assert answer.status_code == 422
        assert answer.json()["detail"] == "Expected a month such as `2026-11`. Received: '2026-13'"
