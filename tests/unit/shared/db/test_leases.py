"""Leases: one holder per row, until it releases the row or its lease expires."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import Session

from shared.db.leases import Owner, RowLeases, has_ended
from shared.db.models import Base, DatasetVersion, TrainingRun, now

HOUR = timedelta(hours=1)
ID = TrainingRun.id


def leases(name: str, duration: timedelta = HOUR) -> RowLeases:
    return RowLeases(TrainingRun.leased_until, duration, Owner(TrainingRun.leased_by, name))


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(TrainingRun(id="run", requested_by="ada", reason="a test"))
        session.add(TrainingRun(id="other", requested_by="ada", reason="a test"))
        session.flush()
        yield session


def row(session: Session, id_: str = "run") -> TrainingRun:
    session.expire_all()
    return session.scalars(select(TrainingRun).filter_by(id=id_)).one()


def test_free_row_is_claimed_for_the_duration(session: Session) -> None:
    assert leases("a").claim(session, ID == "run", attempts=1)
    run = row(session)
    assert (run.leased_by, run.attempts) == ("a", 1)
    assert run.leased_until is not None
    assert timedelta(0) < now() + HOUR - run.leased_until < timedelta(minutes=1)
    assert row(session, "other").leased_by is None


def test_row_of_another_process_is_not_claimed(session: Session) -> None:
    assert leases("a").claim(session, ID == "run")
    assert not leases("b").claim(session, ID == "run", attempts=9)
    assert (row(session).leased_by, row(session).attempts) == ("a", 0)


def test_holder_may_claim_its_row_again(session: Session) -> None:
    assert leases("a", timedelta(minutes=1)).claim(session, ID == "run")
    assert leases("a").claim(session, ID == "run")
    assert (row(session).leased_until or now()) > now() + timedelta(minutes=30)


def test_expired_lease_can_be_claimed_and_its_former_holder_changes_nothing(
    session: Session,
) -> None:
    former, new = leases("a", -HOUR), leases("b")
    assert former.claim(session, ID == "run")
    assert new.claim(session, ID == "run")
    assert not former.renew(session, ID == "run")
    assert not former.change(session, ID == "run", message="late")
    assert not former.release(session, ID == "run", message="late")
    assert (row(session).leased_by, row(session).message) == ("b", None)


def test_renewed_lease_lasts_longer(session: Session) -> None:
    assert leases("a", timedelta(minutes=1)).claim(session, ID == "run")
    assert leases("a").renew(session, ID == "run", log_tail="step 2")
    run = row(session)
    assert (run.leased_until or now()) > now() + timedelta(minutes=30)
    assert (run.leased_by, run.log_tail) == ("a", "step 2")


def test_released_row_is_free_at_once(session: Session) -> None:
    assert leases("a").claim(session, ID == "run")
    assert leases("a").release(session, ID == "run", status="queued")
    assert (row(session).leased_by, row(session).leased_until) == (None, None)
    assert leases("b").claim(session, ID == "run")


def test_change_keeps_the_lease(session: Session) -> None:
    assert leases("a").claim(session, ID == "run")
    before = row(session).leased_until
    assert leases("a").change(session, ID == "run", version="7")
    run = row(session)
    assert (run.version, run.leased_by, run.leased_until) == ("7", "a", before)


def test_unmet_condition_changes_nothing(session: Session) -> None:
    assert not leases("a").claim(session, ID == "run", TrainingRun.status == "running")
    assert row(session).leased_by is None


def test_several_rows_are_released_together(session: Session) -> None:
    both = ID.in_(["run", "other"])
    assert leases("a").claim(session, both)
    assert leases("a").release(session, both)
    assert [row(session, id_).leased_by for id_ in ("run", "other")] == [None, None]


def test_each_change_is_one_statement(session: Session) -> None:
    statements: list[str] = []
    event.listen(
        session.get_bind(),
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: statements.append(statement),
    )
    leases("a").claim(session, ID == "run")
    leases("a").renew(session, ID == "run")
    leases("a").release(session, ID == "run")
    assert [statement.split()[0] for statement in statements] == ["UPDATE"] * 3


def test_table_without_owner_column_is_leased_by_expiry_time_alone(session: Session) -> None:
    session.add(DatasetVersion(id="v", name="n", version=1, asked={}, created_by="ada"))
    session.flush()
    versions = RowLeases(DatasetVersion.leased_until, HOUR)
    here = DatasetVersion.id == "v"
    assert versions.claim(session, here)
    assert not versions.claim(session, here)
    assert versions.release(session, here)
    assert versions.claim(session, here)


def test_lease_of_a_clock_that_was_set_back_has_expired(session: Session) -> None:
    # A lease of an hour that was granted when the clock was two hours ahead
    assert leases("former", 3 * HOUR).claim(session, ID == "run")
    assert has_ended(row(session).leased_until, HOUR)
    assert leases("new").claim(session, ID == "run")
    assert row(session).leased_by == "new"


def test_lease_of_a_machine_whose_clock_is_ahead_is_respected(session: Session) -> None:
    assert leases("ahead", 1.5 * HOUR).claim(session, ID == "run")
    assert not has_ended(row(session).leased_until, HOUR)
    assert not leases("b").claim(session, ID == "run")
