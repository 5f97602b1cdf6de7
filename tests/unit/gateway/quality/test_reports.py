"""Monthly reports over HTTP: listed, read as JSON and as a page, requested."""

from datetime import UTC, datetime

import pytest

from shared.contracts import ReportRequested
from shared.db.models import AuditEntry, Report, ReportRequest, Role, now
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
    assert [(item["month"], item["verdict"]) for item in items] == [
        ("2026-10", "watch"),
        ("2026-09", "healthy"),
    ]
    assert set(items[0]) == {"month", "made_at", "verdict"}


def test_report_is_returned_as_json(api: Api, operator: Headers) -> None:
    found = api.client.get(f"{PATH}/2026-10", headers=operator).json()
    assert (found["verdict"], found["document"]) == ("watch", {"month": "2026-10"})


def test_report_page_runs_in_a_sandbox_without_scripts(api: Api, operator: Headers) -> None:
    answer = api.client.get(f"{PATH}/2026-10", params={"format": "html"}, headers=operator)
    assert answer.text == PAGE
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policies = answer.headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert "sandbox" in policies[0]
    assert "script-src" not in policies[0]


def test_missing_report_is_404_with_the_request_to_send(api: Api, operator: Headers) -> None:
    answer = api.client.get(f"{PATH}/2026-08", headers=operator)
    assert answer.status_code == 404
    assert "POST /v1/reports" in answer.json()["detail"]
    unknown = api.client.get(f"{PATH}/2026-10", params={"format": "pdf"}, headers=operator)
    assert unknown.status_code == 422


def test_request_for_a_report_is_published_to_the_monitor(api: Api, operator: Headers) -> None:
    month = f"{now():%Y-%m}"
    answer = api.client.post(PATH, json={"month": month}, headers=operator)
    assert (answer.status_code, answer.json()) == (202, {"month": month})
    assert answer.headers["location"] == f"{PATH}/{month}"
    assert [sent.month for sent in api.broker.messages if isinstance(sent, ReportRequested)] == [
        month
    ]
    entry = api.get(AuditEntry, 1)
    assert entry is not None
    assert (entry.action, entry.actor, entry.target) == ("report.request", "olga", month)


def test_request_is_kept_even_if_its_message_is_lost(api: Api, operator: Headers) -> None:
    api.broker.is_down = True
    month = f"{now():%Y-%m}"
    for _ in range(2):
        assert api.client.post(PATH, json={"month": month}, headers=operator).status_code == 202
    assert api.get(ReportRequest, month) is not None


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-1", "26-01", "2026-11-01", "", 202611, "2099-01"]
)
def test_malformed_or_future_month_is_422(api: Api, operator: Headers, month: object) -> None:
    assert api.client.post(PATH, json={"month": month}, headers=operator).status_code == 422
    assert api.broker.messages == []


def test_malformed_month_is_reported_as_such(api: Api, operator: Headers) -> None:
    shown = api.client.get(f"{PATH}/2026-13", headers=operator)
    requested = api.client.post(PATH, json={"month": "2026-13"}, headers=operator)
    for answer in (shown, requested):
        assert answer.status_code == 422
        assert answer.json()["detail"] == "Expected a month such as `2026-11`. Received: '2026-13'"
