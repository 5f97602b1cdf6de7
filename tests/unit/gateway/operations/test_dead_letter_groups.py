"""Groups of dead letters: their list, their replay and their discarding through the API."""

from typing import Any

import pytest

from gateway.operations import dead_letter_groups, dead_letters
from shared.contracts import ScoreText
from shared.db.models import AuditEntry, DeadLetter, Job, JobStatus, Role, new_id, now
from shared.db.session import Work
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api

PATH = "/v1/dead-letters"


@pytest.fixture
def headers(api: Api) -> dict[str, str]:
    return api.sign(api.user(Role.OPERATOR))


def letter(api: Api, error: str = "Boom", *, readable: bool = True) -> tuple[DeadLetter, Job]:
    """Store a dead letter and its failed job."""
    job = make_job(api.user(), status=JobStatus.FAILED.value, error_code="message_parked")
    content: dict[str, Any] = {
        "trace_id": "0" * 32,
        "lane": "interactive",
        "release": "1",
        "items": [{"job_id": job.id, "designation": "Piscine", "description": ""}],
    }
    ScoreText.model_validate(content)
    row = DeadLetter(
        id=new_id(),
        topic="score_text",
        payload=content if readable else {"from": "another version"},
        fingerprint=new_id(),
        error=error,
        deliveries=8,
        parked_at=now(),
    )
    api.add(job, row)
    return row, job


def selection(row: DeadLetter, **changes: object) -> dict[str, object]:
    return {
        "topic": row.topic,
        "error": row.error,
        "newest_id": row.id,
        "reason": "mended",
        **changes,
    }


def test_letters_are_grouped_by_topic_and_error_with_the_fate_of_their_jobs(
    api: Api, headers: dict[str, str]
) -> None:
    _first, second, _other = letter(api), letter(api), letter(api, "Another")
    groups = api.client.get(f"{PATH}/groups", headers=headers).json()["items"]
    assert [(one["error"], one["count"]) for one in groups] == [("Boom", 2), ("Another", 1)]
    assert groups[0]["newest_id"] == second[0].id
    assert groups[0]["jobs"] == {"failed": 2}


def test_group_is_replayed_but_not_what_came_later(api: Api, headers: dict[str, str]) -> None:
    first, second = letter(api), letter(api)
    later, other = letter(api), letter(api, "Another")
    answer = api.client.post(f"{PATH}/replay", headers=headers, json=selection(second[0]))
    assert answer.json() == {"handled": 2, "refused": 0, "left": 0}
    for _, job in (first, second):
        kept = api.get(Job, job.id)
        assert kept is not None
        assert kept.status == JobStatus.QUEUED.value
    assert api.get(DeadLetter, first[0].id) is None
    assert api.get(DeadLetter, later[0].id) is not None
    assert api.get(DeadLetter, other[0].id) is not None
    assert len(api.broker.messages) == 2


def test_letter_of_another_version_is_refused_and_the_others_are_replayed(
    api: Api, headers: dict[str, str]
) -> None:
    unreadable, readable = letter(api, readable=False), letter(api)
    answer = api.client.post(f"{PATH}/replay", headers=headers, json=selection(readable[0]))
    assert answer.json() == {"handled": 1, "refused": 1, "left": 0}
    assert api.get(DeadLetter, unreadable[0].id) is not None


def test_letter_that_raises_is_skipped_and_the_others_are_replayed(
    api: Api, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, second = letter(api), letter(api)
    replay = dead_letters.replay

    def raising(work: Work, letter_id: str, *, lease_seconds: float) -> None:
        if letter_id == poisoned[0].id:
            work.session.get_one(Job, poisoned[1].id).status = JobStatus.QUEUED.value
            raise RuntimeError("poison")
        replay(work, letter_id, lease_seconds=lease_seconds)

    monkeypatch.setattr(dead_letters, "replay", raising)
    answer = api.client.post(f"{PATH}/replay", headers=headers, json=selection(second[0]))
    assert answer.json() == {"handled": 1, "refused": 1, "left": 0}
    kept = api.get(Job, poisoned[1].id)
    assert kept is not None
    assert kept.status == JobStatus.FAILED.value


def test_group_is_discarded_with_its_reason_in_the_audit_log(
    api: Api, headers: dict[str, str]
) -> None:
    row, job = letter(api)
    answer = api.client.post(f"{PATH}/discard", headers=headers, json=selection(row))
    assert answer.json()["handled"] == 1
    kept = api.get(Job, job.id)
    assert kept is not None
    assert kept.status == JobStatus.FAILED.value
    with api.unit_of_work.reading() as session:
        entry = session.query(AuditEntry).order_by(AuditEntry.number.desc()).first()
    assert entry is not None
    assert entry.action == "dead_letter.discard_group"
    assert (entry.details["reason"], entry.details["handled"]) == ("mended", 1)


def test_request_handles_a_bounded_number_and_says_what_is_left(
    api: Api, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_groups, "MOST_HANDLED", 2)
    rows = [letter(api)[0] for _ in range(3)]
    body = selection(rows[-1])
    assert api.client.post(f"{PATH}/discard", headers=headers, json=body).json() == {
        "handled": 2,
        "refused": 0,
        "left": 1,
    }
    assert api.client.post(f"{PATH}/discard", headers=headers, json=body).json()["handled"] == 1


def test_reason_is_needed(api: Api, headers: dict[str, str]) -> None:
    row, _ = letter(api)
    answer = api.client.post(f"{PATH}/replay", headers=headers, json=selection(row, reason=""))
    assert answer.status_code == 422
    assert api.get(DeadLetter, row.id) is not None


def test_list_is_filtered_by_the_error(api: Api, headers: dict[str, str]) -> None:
    letter(api), letter(api, "Another")
    found = api.client.get(PATH, headers=headers, params={"error": "Another"}).json()["items"]
    assert [one["error"] for one in found] == ["Another"]
