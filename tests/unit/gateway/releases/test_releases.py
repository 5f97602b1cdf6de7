"""Tests of categories, releases, promotion and rollback."""

import pytest
from sqlalchemy import update

from shared.broker import Worker
from shared.db.models import Promotion, TrainingRun
from tests.support.factories import make_manifest
from tests.unit.gateway.conftest import Api

WHY = {"reason": "better on images"}


def test_categories_of_the_champion_are_listed_by_default(api: Api, mine: dict[str, str]) -> None:
    shown = api.client.get("/v1/categories", headers=mine).json()
    assert shown["release"] == "1"
    named = {"prdtypecode": 2583, "category": "Piscine et accessoires", "category_path": []}
    assert shown["items"][1] == named
    assert api.client.get("/v1/categories?release=2", headers=mine).json()["release"] == "2"


def test_categories_of_an_unknown_release_are_422(api: Api, mine: dict[str, str]) -> None:
    answer = api.client.get("/v1/categories?release=99", headers=mine)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "release"


def test_releases_are_shown_by_version_and_alias(api: Api, mine: dict[str, str]) -> None:
    listed = api.client.get("/v1/releases", headers=mine).json()
    assert [release["version"] for release in listed["items"]] == ["2", "1"]
    assert listed["ledger"] == []
    champion = api.client.get("/v1/releases/champion", headers=mine).json()
    assert (champion["version"], champion["aliases"]) == ("1", ["champion"])
    assert champion["figures"] == {"fusion_f1_plain": 0.8}
    assert api.client.get("/v1/releases/99", headers=mine).status_code == 404


@pytest.mark.parametrize("path", ["/v1/releases/2/promote", "/v1/releases/rollback"])
def test_promotion_is_for_admins(api: Api, mine: dict[str, str], path: str) -> None:
    assert api.client.post(path, headers=mine, json=WHY).status_code == 403
    assert api.releases.marked == "1"


def test_promotion_moves_the_alias_and_writes_the_ledger(api: Api, admin: dict[str, str]) -> None:
    answer = api.client.post("/v1/releases/2/promote", headers=admin, json=WHY)
    assert answer.json()["aliases"] == ["champion"]
    assert api.releases.marked == "2"
    (line,) = api.client.get("/v1/releases", headers=admin).json()["ledger"]
    assert (line["version"], line["promoted_by"]) == ("2", "root")
    assert line["reason"] == WHY["reason"]


def test_rollback_promotes_the_previous_champion(api: Api, admin: dict[str, str]) -> None:
    assert api.client.post("/v1/releases/rollback", headers=admin, json=WHY).status_code == 409
    for version in ("1", "2"):
        api.client.post(f"/v1/releases/{version}/promote", headers=admin, json=WHY)
    answer = api.client.post("/v1/releases/rollback", headers=admin, json=WHY)
    assert answer.json()["version"] == "1"
    assert api.releases.marked == "1"
    newest = api.client.get("/v1/releases", headers=admin).json()["ledger"][0]
    assert (newest["version"], newest["previous_version"]) == ("1", "2")


def test_unknown_release_is_not_promoted(api: Api, admin: dict[str, str]) -> None:
    assert api.client.post("/v1/releases/9/promote", headers=admin, json=WHY).status_code == 404
    assert api.releases.marked == "1"


def test_promotion_needs_a_reason(api: Api, admin: dict[str, str]) -> None:
    answer = api.client.post("/v1/releases/2/promote", headers=admin, json={"reason": ""})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["reason"]


def test_ledger_is_not_written_while_the_registry_is_down(api: Api, admin: dict[str, str]) -> None:
    api.releases.is_down = True
    assert api.client.post("/v1/releases/2/promote", headers=admin, json=WHY).status_code == 503
    api.releases.is_down = False
    assert api.client.get("/v1/releases", headers=admin).json()["ledger"] == []


def test_rejected_release_is_shown_and_never_promoted(api: Api, admin: dict[str, str]) -> None:
    api.releases.rejected["2"] = "too slow: 90 ms of at most 50 ms"
    assert api.client.get("/v1/releases/2", headers=admin).json()["rejected"].startswith("too slow")
    answer = api.client.post("/v1/releases/2/promote", headers=admin, json=WHY)
    assert answer.status_code == 409
    assert "too slow: 90 ms" in answer.json()["detail"]
    assert api.releases.marked == "1"


def test_champion_is_not_promoted_again(api: Api, admin: dict[str, str]) -> None:
    assert api.client.post("/v1/releases/2/promote", headers=admin, json=WHY).status_code == 200
    assert api.client.post("/v1/releases/2/promote", headers=admin, json=WHY).status_code == 409
    assert len(api.client.get("/v1/releases", headers=admin).json()["ledger"]) == 1


def test_two_rollbacks_cancel_each_other_out(api: Api, admin: dict[str, str]) -> None:
    api.releases.manifests["3"] = make_manifest("release-3")
    for version in ("1", "2", "3"):
        api.client.post(f"/v1/releases/{version}/promote", headers=admin, json=WHY)
    back = [
        api.client.post("/v1/releases/rollback", headers=admin, json=WHY).json()["version"]
        for _ in range(3)
    ]
    assert back == ["2", "3", "2"]
    ledger = api.client.get("/v1/releases", headers=admin).json()["ledger"]
    pairs = [(line["previous_version"], line["version"]) for line in reversed(ledger)]
    assert pairs == [(None, "1"), ("1", "2"), ("2", "3"), ("3", "2"), ("2", "3"), ("3", "2")]


def test_first_rollback_returns_to_the_unrecorded_champion(api: Api, admin: dict[str, str]) -> None:
    api.client.post("/v1/releases/2/promote", headers=admin, json=WHY)
    answer = api.client.post("/v1/releases/rollback", headers=admin, json=WHY)
    assert answer.json()["version"] == "1"


def test_rollback_to_a_rejected_release_is_409(api: Api, admin: dict[str, str]) -> None:
    api.client.post("/v1/releases/2/promote", headers=admin, json=WHY)
    api.releases.rejected["1"] = "answers golden rows differently"
    answer = api.client.post("/v1/releases/rollback", headers=admin, json=WHY)
    assert answer.status_code == 409
    assert api.releases.marked == "2"


def test_ledger_holds_the_verdict_of_the_training_run(api: Api, admin: dict[str, str]) -> None:
    verdict = {"outcome": "undecided", "difference": 0.001}
    api.add(TrainingRun(requested_by="ada", reason="drift", version="2", verdict=verdict))
    api.client.post("/v1/releases/2/promote", headers=admin, json=WHY)
    (line,) = api.client.get("/v1/releases", headers=admin).json()["ledger"]
    assert line["figures"] == {"fusion_f1_plain": 0.8, "verdict": verdict}


def test_promotion_removes_the_challenger_alias(api: Api, admin: dict[str, str]) -> None:
    api.releases.mark_challenger("2")
    answer = api.client.post("/v1/releases/challenger/promote", headers=admin, json=WHY)
    assert answer.json()["aliases"] == ["champion"]
    assert api.releases.challenger is None


def test_repeated_promotion_completes_the_ledger(api: Api, admin: dict[str, str]) -> None:
    # Given a promotion to 2 whose alias was moved, but whose commit failed
    api.client.post("/v1/releases/1/promote", headers=admin, json=WHY)
    api.releases.mark_champion("2")
    # When it is promoted again, I expect the missing entry
    assert api.client.post("/v1/releases/2/promote", headers=admin, json=WHY).status_code == 200
    newest = api.client.get("/v1/releases", headers=admin).json()["ledger"][0]
    assert (newest["previous_version"], newest["version"]) == ("1", "2")


def test_job_after_a_promotion_gets_the_promoted_release(api: Api, admin: dict[str, str]) -> None:
    for path, version in (("2/promote", "2"), ("rollback", "1")):
        answer = api.client.post(f"/v1/releases/{path}", headers=admin, json=WHY)
        assert (answer.json()["version"], answer.json()["serving"]) == (version, True)
        job = api.client.post("/v1/jobs", headers=admin, data={"designation": "Piscine"}).json()
        assert job["release"] == version


def test_promotion_reports_a_release_that_no_worker_can_load(
    api: Api, admin: dict[str, str]
) -> None:
    queues = ("text.interactive",)
    api.broker.present = [Worker("text@a", queues, ("1",), 0, 0, None, unloadable={"2": "broken"})]
    answer = api.client.post("/v1/releases/2/promote", headers=admin, json=WHY)
    assert answer.json()["serving"] is False
    listed = api.client.get("/v1/releases", headers=admin).json()["items"]
    assert {one["version"]: one["serving"] for one in listed} == {"1": True, "2": False}


def test_releases_are_listed_page_by_page(api: Api, mine: dict[str, str]) -> None:
    api.releases.manifests["3"] = make_manifest("release-3")
    everything = api.client.get("/v1/releases", headers=mine).json()
    assert [one["version"] for one in everything["items"]] == ["3", "2", "1"]
    assert everything["next_cursor"] is None
    first = api.client.get("/v1/releases?limit=2", headers=mine).json()
    second = api.client.get(
        "/v1/releases", params={"limit": 2, "cursor": first["next_cursor"]}, headers=mine
    ).json()
    assert first["items"] + second["items"] == everything["items"]
    assert second["next_cursor"] is None


def test_first_page_of_releases_has_the_newest_promotions(api: Api, admin: dict[str, str]) -> None:
    for version in ("1", "2", "1"):
        api.client.post(f"/v1/releases/{version}/promote", headers=admin, json=WHY)
    first = api.client.get("/v1/releases?limit=1", headers=admin).json()
    assert [line["version"] for line in first["ledger"]] == ["1"]
    query = {"limit": 1, "cursor": first["next_cursor"]}
    assert api.client.get("/v1/releases", params=query, headers=admin).json()["ledger"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "cursor=x"])
def test_bad_pages_of_releases_are_422(api: Api, mine: dict[str, str], query: str) -> None:
    assert api.client.get(f"/v1/releases?{query}", headers=mine).status_code == 422


def test_release_shows_its_comparison_with_the_champion(api: Api, mine: dict[str, str]) -> None:
    part = {
        "name": "labelled answers",
        "outcome": "undecided",
        "rows": 60,
        "champion_f1": 0.5,
        "challenger_f1": 0.501,
        "difference": 0.001,
        "low": -0.01,
        "high": 0.012,
    }
    verdict = {
        "outcome": "undecided",
        "sentence": "As good as release 1",
        "difference": 0.001,
        "parts": [part],
    }
    api.add(TrainingRun(requested_by="ada", reason="drift", version="2", verdict=verdict))
    listed = api.client.get("/v1/releases", headers=mine).json()["items"]
    shown = {"outcome": "undecided", "sentence": "As good as release 1", "parts": [part]}
    assert [one["verdict"] for one in listed] == [shown, None]
    assert api.client.get("/v1/releases/2", headers=mine).json()["verdict"] == shown


def test_ledger_and_release_show_the_watch(api: Api, admin: dict[str, str]) -> None:
    api.client.post("/v1/releases/2/promote", headers=admin, json=WHY)
    finding = {
        "measure": "failures",
        "rows": 40,
        "value": 1.0,
        "before": 0.0,
        "p_value": 1e-9,
        "is_worse": True,
        "sentence": "40 of 40 answers failed, 0 of 60 before (p 1e-09)",
    }
    watch = {
        "state": "rolled_back",
        "sentence": "Release 2 is worse",
        "at": "2026-11-02T09:00:00Z",
        "answers": 40,
        "looked": {"failures": 40},
        "findings": {"failures": finding},
    }
    with api.unit_of_work() as work:
        work.session.execute(update(Promotion).values(watch=watch))
    answer = api.client.get("/v1/releases", headers=admin).json()
    shown = {
        "state": "rolled_back",
        "sentence": "Release 2 is worse",
        "at": "2026-11-02T09:00:00Z",
        "answers": 40,
        "labelled": 0,
        "compared": 0,
        "findings": [finding],
    }
    assert answer["ledger"][0]["watch"] == shown
    assert [one["watch"] for one in answer["items"]] == [shown, None]
