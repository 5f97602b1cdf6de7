"""Tests of the audit log: its entries, its protection, and the detection of changes."""

import json
import sqlite3
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gateway import audit
from gateway.identity import audit_log
from gateway.identity.principal import Origin
from shared.db.models import AuditEntry, DatasetVersion, DeadLetter, Role, now
from shared.errors import NotFound
from shared.lifecycle.audit import hash_of
from tests.unit.gateway.conftest import Api

Headers = dict[str, str]


def filled(api: Api, admin: Headers) -> list[tuple[str, str, str | None]]:
    """Add four entries and return their actor, action and target."""
    api.client.post("/v1/users", headers=admin, json={"username": "ada"})
    api.client.patch("/v1/users/ada", headers=admin, json={"role": "operator"})
    api.client.post("/v1/token", data={"username": "ada", "password": "wrong one"})
    api.client.delete("/v1/users/ada", headers=admin)
    with api.unit_of_work.reading() as session:
        return [(one.actor, one.action, one.target) for one in audit_log.entries(session)]


def database(api: Api) -> Path:
    return Path(str(api.unit_of_work.engine.url.database))


def tamper(api: Api, *statements: str) -> None:
    """Change the table as an owner of the database file could."""
    with sqlite3.connect(database(api)) as connection:
        for change in ("update", "delete"):
            connection.execute(f"DROP TRIGGER audit_log_no_{change}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def fault(api: Api, last: str | None = None) -> str | None:
    with api.unit_of_work.reading() as session:
        return audit_log.verify(session, last).fault


def test_entries_hold_actor_action_and_target(api: Api, admin: Headers) -> None:
    assert filled(api, admin) == [
        ("root", "user.create", "ada"),
        ("root", "user.change", "ada"),
        ("ada", "session.refuse", None),
        ("root", "user.delete", "ada"),
    ]
    page = api.client.get("/v1/audit-log", headers=admin).json()
    changed = page["items"][2]
    assert changed["details"] == {"role": "operator"}
    assert changed["address"] == "testclient"
    assert len(changed["trace_id"]) == 32


def test_log_contains_no_secret(api: Api, admin: Headers) -> None:
    code = api.client.post("/v1/users", headers=admin, json={"username": "ada"}).json()
    code = code["one_time_code"]["code"]
    api.client.post("/v1/password", json={"code": code, "new_password": "four random words"})
    form = {"username": "ada", "password": "four random words"}
    tokens = api.client.post("/v1/token", data=form).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    key = api.client.post(
        "/v1/api-keys", headers=headers, json={"name": "n", "scopes": ["jobs:read"]}
    ).json()["key"]
    log = api.client.get("/v1/audit-log/export", headers=admin).text
    for secret in (code, "four random words", *tokens.values(), key):
        assert str(secret) == "bearer" or len(str(secret)) < 6 or str(secret) not in log


def test_failed_action_adds_no_entry(api: Api, admin: Headers) -> None:
    assert api.client.delete("/v1/users/nobody", headers=admin).status_code == 404
    assert api.client.get("/v1/audit-log", headers=admin).json()["items"] == []


def test_entries_are_paged_and_filtered(api: Api, admin: Headers) -> None:
    filled(api, admin)

    def page(**query: object) -> dict[str, object]:
        answer = api.client.get("/v1/audit-log", headers=admin, params=query)  # type: ignore[arg-type]
        found: dict[str, object] = answer.json()
        return found

    numbers, cursor = [], None
    while True:
        found = page(limit=3, **({"cursor": cursor} if cursor else {}))
        numbers += [one["number"] for one in found["items"]]  # type: ignore[attr-defined]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert numbers == [4, 3, 2, 1]
    assert [one["number"] for one in page(actor="ada")["items"]] == [3]  # type: ignore[attr-defined]
    assert [one["number"] for one in page(action="user.create")["items"]] == [1]  # type: ignore[attr-defined]
    bad = api.client.get("/v1/audit-log", headers=admin, params={"cursor": "-1"})
    assert bad.status_code == 422


def test_export_is_the_whole_chain(api: Api, admin: Headers) -> None:
    filled(api, admin)
    lines = api.client.get("/v1/audit-log/export", headers=admin).text.splitlines()
    entries = [json.loads(line) for line in lines]
    assert [one["number"] for one in entries] == [1, 2, 3, 4]
    assert [one["previous_hash"] for one in entries[1:]] == [one["hash"] for one in entries[:-1]]


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"])
def test_table_refuses_changes(api: Api, admin: Headers, statement: str) -> None:
    filled(api, admin)
    with pytest.raises(IntegrityError, match="append-only"), api.unit_of_work() as work:
        work.session.execute(text(statement))
    assert fault(api) is None


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit_log SET actor = 'somebody' WHERE number = 2", "entry 2 was changed"),
        ("UPDATE audit_log SET details = '{}' WHERE number = 2", "entry 2 was changed"),
        ("UPDATE audit_log SET at = '2020-01-01 00:00:00' WHERE number = 1", "entry 1 was changed"),
        ("DELETE FROM audit_log WHERE number = 2", "entry 2 is missing"),
        ("DELETE FROM audit_log WHERE number = 1", "entry 1 is missing"),
        ("UPDATE audit_log SET hash = 'x' WHERE number = 2", "entry 2 was changed"),
    ],
)
def test_change_in_the_database_is_detected(
    api: Api, admin: Headers, statement: str, found: str
) -> None:
    filled(api, admin)
    assert fault(api) is None
    tamper(api, statement)
    assert fault(api) == found


def test_entry_with_a_recomputed_hash_breaks_the_chain(api: Api, admin: Headers) -> None:
    filled(api, admin)
    with api.unit_of_work.reading() as session:
        second = session.get_one(AuditEntry, 2)
        second.actor = "somebody"
        forged = hash_of(second)
        session.rollback()
    tamper(api, f"UPDATE audit_log SET actor = 'somebody', hash = '{forged}' WHERE number = 2")
    assert fault(api) == "entry 3 does not follow the previous one"


def test_truncated_end_is_detected_with_a_stored_hash(api: Api, admin: Headers) -> None:
    filled(api, admin)
    with api.unit_of_work.reading() as session:
        noted = audit_log.verify(session).last_hash
    assert fault(api, noted) is None
    tamper(api, "DELETE FROM audit_log WHERE number = 4")
    assert fault(api) is None
    assert "the end of the log is missing" in str(fault(api, noted))


def test_command_reports_the_result_of_verification(
    api: Api,
    admin: Headers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled(api, admin)
    monkeypatch.setenv("RAYON_DATABASE_URL", f"sqlite:///{database(api)}")
    monkeypatch.setattr(sys, "argv", ["audit", "verify"])
    assert audit.main() == 0
    assert "4 entries verified" in capsys.readouterr().out
    tamper(api, "UPDATE audit_log SET actor = 'x' WHERE number = 3")
    assert audit.main() == 1
    assert "entry 3 was changed" in capsys.readouterr().out


def test_entry_is_rolled_back_with_its_transaction(api: Api, admin: Headers) -> None:
    origin = Origin(address=None, agent=None, trace_id="0" * 32)

    def fail() -> None:
        with api.unit_of_work() as work:
            audit_log.record(work.session, origin, "user.create", actor="root")
            raise NotFound("after all")

    with pytest.raises(NotFound):
        fail()
    with api.unit_of_work.reading() as session:
        assert audit_log.verify(session).entries == 0


def test_decisions_of_operators_and_admins_are_recorded(api: Api, admin: Headers) -> None:
    operator = api.sign(api.user(Role.OPERATOR, username="olga"))
    api.add(
        *(
            DeadLetter(
                id=name,
                topic="training_requested",
                payload={"trace_id": "0", "run_id": "r", "reason": "x", "requested_by": "y"},
                fingerprint=name,
                error="x",
                deliveries=4,
                parked_at=now(),
            )
            for name in ("letter-1", "letter-2")
        )
    )
    reason = {"reason": "better on shoes"}
    client = api.client
    assert client.post("/v1/dead-letters/letter-1/replay", headers=operator).is_success
    assert client.delete("/v1/dead-letters/letter-2", headers=operator).is_success
    run = client.post("/v1/training-runs", headers=operator, json=reason).json()["id"]
    assert client.delete(f"/v1/training-runs/{run}", headers=operator).is_success
    assert client.post("/v1/releases/2/promote", headers=admin, json=reason).is_success
    assert client.post("/v1/releases/rollback", headers=admin, json=reason).is_success
    files = {"products": ("p.csv", b"designation,prdtypecode\nx,10\n")}
    sent = client.post("/v1/datasets", headers=operator, data={"name": "shop"}, files=files)
    assert sent.is_success
    with api.unit_of_work() as work:
        work.session.query(DatasetVersion).update({"status": "ready"})
    assert client.delete("/v1/datasets/shop", headers=operator).is_success
    with api.unit_of_work.reading() as session:
        recorded = [(one.actor, one.action, one.target) for one in audit_log.entries(session)]
    assert recorded == [
        ("olga", "dead_letter.replay", "letter-1"),
        ("olga", "dead_letter.discard", "letter-2"),
        ("olga", "training.request", run),
        ("olga", "training.cancel", run),
        ("root", "release.promote", "2"),
        ("root", "release.roll_back", "1"),
        ("olga", "dataset.send", "shop@1"),
        ("olga", "dataset.delete", "shop"),
    ]
