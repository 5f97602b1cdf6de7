"""Drift alerts over HTTP: raised by people and Alertmanager, approved and dismissed."""

from typing import Any

import pytest

from shared.contracts import DriftDetected
from shared.db.models import DriftAlert, DriftWindow, Role, now
from tests.unit.gateway.conftest import Api

Headers = dict[str, str]
PATH = "/v1/drift-alerts"


@pytest.fixture
def operator(api: Api) -> Headers:
    return api.sign(api.user(Role.OPERATOR, username="olga"))


def webhook(*alerts: dict[str, Any]) -> dict[str, Any]:
    """Return a webhook body as the documentation of Alertmanager shows it."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="F1Low"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "rayon",
        "groupLabels": {"alertname": "F1Low"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    }


def firing(**changes: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "F1Low", "release": "1"},
        "annotations": {"summary": "F1 of labelled answers is .61"},
        "startsAt": "2026-11-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "c0ffee",
        **changes,
    }


def test_alert_of_a_person_is_published_once(api: Api, operator: Headers) -> None:
    sent = api.client.post(PATH, headers=operator, json={"summary": "shoes look wrong"})
    assert sent.status_code == 202
    (alert,) = sent.json()["items"]
    assert (alert["source"], alert["raised_by"], alert["status"]) == ("person", "olga", "open")
    assert [sent.alert_id for sent in api.broker.messages if isinstance(sent, DriftDetected)] == [
        alert["id"]
    ]
    assert api.client.get(f"{PATH}/{alert['id']}", headers=operator).json() == alert
    again = api.client.post(PATH, headers=operator, json={"summary": "still"})
    assert again.status_code == 409
    assert alert["id"] in again.json()["detail"]


def test_repeated_alert_of_alertmanager_is_raised_once(api: Api, operator: Headers) -> None:
    first = api.client.post(PATH, headers=operator, json=webhook(firing())).json()["items"]
    assert [item["kind"] for item in first] == ["F1Low"]
    assert first[0]["summary"] == "F1 of labelled answers is .61"
    assert first[0]["release"] == "1"
    other = firing(fingerprint="another", labels={"alertname": "QueueStuck"})
    again = api.client.post(PATH, headers=operator, json=webhook(firing(), other)).json()["items"]
    assert [item["kind"] for item in again] == ["QueueStuck"]
    resolved = webhook(firing(status="resolved"), firing(status="resolved", fingerprint="never"))
    (known,) = api.client.post(PATH, headers=operator, json=resolved).json()["items"]
    assert known["id"] == first[0]["id"]
    assert known["steps"][-1]["text"] == "Resolved in Prometheus"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"summary": ""},
        {"summary": "x" * 501},
        {"summary": "x", "kind": "Not A Kind"},
        {"summary": "x", "other": 1},
        {"version": "3", "alerts": []},
        webhook(firing(status="pending")),
        webhook({"status": "firing"}),
        [],
        "text",
    ],
    ids=str,
)
def test_invalid_alert_is_422(api: Api, operator: Headers, body: object) -> None:
    assert api.client.post(PATH, headers=operator, json=body).status_code == 422
    assert api.client.get(PATH, headers=operator).json()["items"] == []


def test_operator_approves_or_dismisses_an_alert(api: Api, operator: Headers) -> None:
    (alert,) = api.client.post(PATH, headers=operator, json={"summary": "x"}).json()["items"]
    path = f"{PATH}/{alert['id']}"
    with api.unit_of_work() as work:
        work.session.get_one(DriftAlert, alert["id"]).status = "asking"
    allowed = api.client.post(f"{path}/train", headers=operator)
    assert allowed.status_code == 202
    assert allowed.json()["status"] == "open"
    assert allowed.json()["details"] == {"allowed_by": "olga"}
    assert len([sent for sent in api.broker.messages if isinstance(sent, DriftDetected)]) == 2
    with api.unit_of_work() as work:
        work.session.get_one(DriftAlert, alert["id"]).status = "training"
    assert api.client.post(f"{path}/train", headers=operator).status_code == 409
    reason = {"reason": "a sale, over on Monday"}
    ended = api.client.post(f"{path}/dismiss", headers=operator, json=reason).json()
    assert ended["status"] == "ended"
    assert ended["steps"][-1]["text"] == "Dismissed: a sale, over on Monday"
    assert api.client.post(f"{path}/dismiss", headers=operator, json=reason).status_code == 409
    assert api.client.post(f"{PATH}/none/train", headers=operator).status_code == 404


def test_alerts_are_paged_and_filtered_by_status(api: Api, operator: Headers) -> None:
    for kind in ("text", "image", "prediction"):
        api.client.post(PATH, headers=operator, json={"summary": kind, "kind": kind})
    with api.unit_of_work() as work:
        work.session.query(DriftAlert).filter_by(kind="image").update({"status": "ended"})
    kinds, query = [], {"limit": "2"}
    while True:
        page = api.client.get(PATH, headers=operator, params=query).json()
        kinds += [item["kind"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert kinds == ["prediction", "image", "text"]
    ended = api.client.get(PATH, headers=operator, params={"status": "ended"}).json()["items"]
    assert [item["kind"] for item in ended] == ["image"]
    assert api.client.get(PATH, headers=operator, params={"status": "x"}).status_code == 422


def test_windows_are_listed_newest_first(api: Api, operator: Headers) -> None:
    with api.services.unit_of_work() as work:
        for rows in (1_000, 1_040, 200):
            window = DriftWindow(
                release="1",
                rows=rows,
                begins_at=now(),
                ends_at=now(),
                moved=["text"],
                measured={"text": {"effect": 0.4, "sentence": "Texts differ"}},
            )
            work.session.add(window)
            work.session.flush()
    page = api.client.get("/v1/drift-windows", headers=operator, params={"limit": 2}).json()
    assert [item["rows"] for item in page["items"]] == [200, 1_040]
    assert page["items"][0]["measured"]["text"]["sentence"] == "Texts differ"
    cursor = {"cursor": page["next_cursor"]}
    rest = api.client.get("/v1/drift-windows", headers=operator, params=cursor).json()
    assert [item["rows"] for item in rest["items"]] == [1_000]
