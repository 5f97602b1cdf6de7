"""Tests of requeueing jobs whose messages were lost."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from gateway.jobs.messages import wanted
from gateway.operations.requeue import Sweeper, delete_old_keys
from gateway.settings import SweepSettings
from shared.broker import Worker
from shared.contracts import ScoreImage, ScoreText
from shared.db.models import IdempotencyKey, Job, Score, User, new_id, now
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker

SETTINGS = SweepSettings(lease_seconds=30.0, max_attempts=3)
EARLIER, LATER = -10.0, +10.0


@pytest.fixture
def sweeper(unit_of_work: UnitOfWork, broker: FakeBroker) -> Sweeper:
    """Return a sweeper on the queue in memory."""
    return Sweeper(unit_of_work, broker.depth, SETTINGS, broker.workers)


@pytest.fixture
def owner(unit_of_work: UnitOfWork) -> User:
    """Return the owner of the jobs."""
    user = make_user()
    with unit_of_work() as work:
        work.session.add(user)
    return user


def _both(owner: User, **changes: Any) -> Job:
    return make_job(owner, wants_image=True, image_uri="images/aa/aa", **changes)


def _add(unit_of_work: UnitOfWork, *rows: Any) -> None:
    for row in rows:
        with unit_of_work() as work:
            work.session.add(row)


def _score(job: Job, modality: str) -> Score:
    return Score(job_id=job.id, modality=modality, release="1", probabilities=b"\0" * 8)


def _read(unit_of_work: UnitOfWork, job: Job) -> Job:
    with unit_of_work.reading() as session:
        return session.get_one(Job, job.id)


@pytest.mark.parametrize(
    ("scored", "heads", "sent"),
    [
        # No message waits: the messages are lost.
        ((), {}, [ScoreText, ScoreImage]),
        # The heads of the queues are younger than the job's messages, which are lost.
        ((), {"text": LATER, "image": LATER, "fusion": LATER}, [ScoreText, ScoreImage]),
        # One of the queues may still hold a message.
        ((), {"text": EARLIER}, []),
        ((), {"image": EARLIER}, []),
        # A score may be waiting for fusion.
        ((), {"fusion": EARLIER}, []),
        # Only missing modalities are requeued, and only their queues matter.
        (("text",), {}, [ScoreImage]),
        (("text",), {"text": EARLIER}, [ScoreImage]),
        (("text",), {"image": EARLIER}, []),
        (("image",), {"image": EARLIER}, [ScoreText]),
        (("image",), {"fusion": EARLIER}, []),
    ],
)
def test_job_is_requeued_only_if_no_queue_may_hold_its_message(
    unit_of_work: UnitOfWork,
    broker: FakeBroker,
    sweeper: Sweeper,
    owner: User,
    scored: tuple[str, ...],
    heads: dict[str, float],
    sent: list[type],
) -> None:
    job = _both(owner)
    _add(unit_of_work, job, *(_score(job, modality) for modality in scored))
    published = job.published_at
    broker.heads = {
        f"{station}.interactive": published.timestamp() + offset
        for station, offset in heads.items()
    }

    assert sweeper.sweep() == bool(sent)

    assert [type(message) for message in broker.messages] == sent
    kept = _read(unit_of_work, job)
    assert kept.leased_until > now() + timedelta(seconds=20)
    assert kept.attempts == bool(sent)
    assert (kept.published_at > published) is bool(sent)


def test_queue_of_the_other_lane_does_not_matter(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    job = make_job(owner, lane="catalog")
    _add(unit_of_work, job)
    broker.heads = {"text.interactive": job.published_at.timestamp() - 10}
    assert sweeper.sweep() == 1
    assert broker.messages[0].queue == "text.catalog"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "done"},
        {"status": "failed"},
        {"status": "cancelled"},
    ],
)
def test_final_jobs_are_unchanged(
    unit_of_work: UnitOfWork,
    broker: FakeBroker,
    sweeper: Sweeper,
    owner: User,
    changes: dict[str, Any],
) -> None:
    job = make_job(owner, **changes)
    _add(unit_of_work, job)
    assert sweeper.sweep() == 0
    assert broker.messages == []
    assert _read(unit_of_work, job).leased_until == job.leased_until


def test_leased_jobs_are_unchanged(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    job = make_job(owner, leased_until=now() + timedelta(seconds=30))
    _add(unit_of_work, job)
    assert sweeper.sweep() == 0
    assert broker.messages == []
    assert _read(unit_of_work, job).leased_until == job.leased_until


def test_second_sweep_requeues_nothing(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    _add(unit_of_work, make_job(owner))
    assert [sweeper.sweep(), sweeper.sweep()] == [1, 0]
    assert len(broker.messages) == 1


def test_job_fails_after_too_many_lost_messages(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    hopeless, hopeful = make_job(owner, attempts=3), make_job(owner, attempts=2)
    _add(unit_of_work, hopeless, hopeful)
    assert sweeper.sweep() == 1
    failed = _read(unit_of_work, hopeless)
    assert (failed.status, failed.error_code) == ("failed", "delivery_failed")
    assert failed.finished_at is not None
    assert _read(unit_of_work, hopeful).status == "queued"
    (message,) = broker.messages
    assert isinstance(message, ScoreText)
    assert [item.job_id for item in message.items] == [hopeful.id]
    assert broker.announced == [hopeless.id]


def test_long_queue_never_makes_a_job_fail(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    job = make_job(owner, attempts=3)
    _add(unit_of_work, job)
    broker.heads = {"text.interactive": job.published_at.timestamp() - 10}
    assert sweeper.sweep() == 0
    assert _read(unit_of_work, job).status == "queued"


def test_jobs_are_unchanged_while_the_queue_is_down(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    job = make_job(owner)
    _add(unit_of_work, job)
    broker.is_down = True
    with pytest.raises(Unavailable):
        sweeper.sweep()
    kept = _read(unit_of_work, job)
    assert (kept.attempts, kept.leased_until) == (0, job.leased_until)
    broker.is_down = False
    assert sweeper.sweep() == 1


def test_only_messages_that_were_sent_count_as_lost_later(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    # Given a queue that takes one message more
    jobs = [make_job(owner, release=release) for release in ("1", "2", "3")]
    _add(unit_of_work, *jobs)
    broker.room = 1
    # When the jobs are swept
    assert sweeper.sweep() == 1
    # I expect one attempt of the job that was sent, and new leases for all
    kept = [_read(unit_of_work, job) for job in jobs]
    assert sorted(job.attempts for job in kept) == [0, 0, 1]
    assert all(job.leased_until > now() for job in kept)
    assert [job.published_at > now() - timedelta(seconds=30) for job in kept] == [
        job.attempts == 1 for job in kept
    ]


def test_jobs_are_requeued_in_slices_of_one_release_lane_and_trace(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    many = [make_job(owner, lane="catalog") for _ in range(20)]
    others = [make_job(owner, lane="catalog", release="2"), make_job(owner)]
    with unit_of_work() as work:
        work.session.add_all([*many, *others])
    assert sweeper.sweep() == 22
    sent = [message for message in broker.messages if isinstance(message, ScoreText)]
    assert sorted(len(message.items) for message in sent) == [1, 1, 4, 16]
    by_id = {item.job_id: message for message in sent for item in message.items}
    assert {job.id: (by_id[job.id].lane, by_id[job.id].release) for job in (*many, *others)} == {
        job.id: (job.lane, job.release) for job in (*many, *others)
    }


def test_requeued_jobs_of_two_users_share_no_message(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    other = make_user("bea")
    _add(unit_of_work, other, make_job(owner), make_job(other))
    assert sweeper.sweep() == 2
    sent = [message for message in broker.messages if isinstance(message, ScoreText)]
    assert sorted(message.user_id for message in sent) == sorted([owner.id, other.id])


def test_job_that_becomes_final_during_the_sweep_stays_final(
    unit_of_work: UnitOfWork, broker: FakeBroker, owner: User
) -> None:
    # Given an overdue job that is answered after the sweeper has read the queues
    job = make_job(owner)
    _add(unit_of_work, job)

    def finish_then_measure(queue: str) -> Any:
        with unit_of_work() as work:
            work.session.execute(update(Job).values(status="done"))
        return broker.depth(queue)

    # When it sweeps
    swept = Sweeper(unit_of_work, finish_then_measure, SETTINGS, broker.workers).sweep()

    # I expect no message, and the answer unchanged
    assert (swept, broker.messages) == (0, [])
    assert _read(unit_of_work, job).status == "done"


@pytest.mark.parametrize(("attempts", "able"), [(0, False), (3, False), (0, True)])
def test_job_of_a_release_that_no_worker_can_load_waits(
    unit_of_work: UnitOfWork,
    broker: FakeBroker,
    owner: User,
    sweeper: Sweeper,
    attempts: int,
    *,
    able: bool,
) -> None:
    # Given an overdue job whose message a worker has taken, to give it back later
    job = make_job(owner, attempts=attempts)
    _add(unit_of_work, job)
    queues = ("text.interactive", "text.catalog")
    broker.present = [
        Worker("text@a", queues, (), 4, 0, 0.5, unloadable={job.release: "broken"}),
        Worker("text@b", queues, (), 4, 0, 0.5, unloadable={} if able else {job.release: "broken"}),
    ]

    # When it sweeps, I expect that no loss is counted, unless another worker can load the release
    assert sweeper.sweep() == int(able)
    found = _read(unit_of_work, job)
    assert (found.status, found.attempts) == ("queued", attempts + int(able))


def test_idempotency_keys_are_deleted_after_a_day(unit_of_work: UnitOfWork, owner: User) -> None:
    job = make_job(owner)
    _add(unit_of_work, job)
    for age in (timedelta(hours=23), timedelta(hours=25)):
        name = new_id()
        key = IdempotencyKey(user_id=owner.id, key=name, fingerprint="x", job_id=job.id)
        key.created_at = now() - age
        _add(unit_of_work, key)
    with unit_of_work() as work:
        delete_old_keys(work.session)
    with unit_of_work.reading() as session:
        assert session.query(IdempotencyKey).count() == 1


def test_job_that_cannot_be_judged_does_not_stop_the_others(
    sweeper: Sweeper,
    unit_of_work: UnitOfWork,
    broker: FakeBroker,
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overdue = {"leased_until": now() - timedelta(seconds=1)}
    good, bad = make_job(owner, **overdue), make_job(owner, **overdue)
    _add(unit_of_work, bad, good)

    def raising(job: Job) -> set[Any]:
        if job.id == bad.id:
            raise ValueError("a modality that nobody knows")
        return wanted(job)

    monkeypatch.setattr("gateway.operations.requeue.wanted", raising)
    with capture_logs() as events:
        assert sweeper.sweep() == 1
    assert [one["row"] for one in events if one["event"] == "row_skipped"] == [bad.id]
    with unit_of_work.reading() as session:
        # It waits for another lease, so that it does not fill every batch.
        assert session.get_one(Job, bad.id).leased_until > now()


# A clock that was set back

AHEAD = timedelta(hours=2)


def test_job_sent_before_the_clock_was_set_back_is_sent_again_within_a_lease(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    moment = now() + AHEAD
    job = make_job(owner, published_at=moment, leased_until=moment + timedelta(seconds=30))
    _add(unit_of_work, job)
    # Others are waiting, so the first sweep cannot tell, and gives it a lease of the present
    broker.heads = {"text.interactive": now().timestamp() - 1}
    assert sweeper.sweep() == 0
    kept = _read(unit_of_work, job)
    assert kept.published_at <= now()
    assert kept.leased_until <= now() + timedelta(seconds=30)
    # The queue goes on; after that lease the job is lost
    broker.heads = {"text.interactive": now().timestamp() + 5}
    with unit_of_work() as work:
        work.session.execute(update(Job).values(leased_until=now() - timedelta(seconds=1)))
    assert sweeper.sweep() == 1


def test_job_behind_messages_from_before_the_clock_was_set_back_is_not_lost(
    unit_of_work: UnitOfWork, broker: FakeBroker, sweeper: Sweeper, owner: User
) -> None:
    job = make_job(owner)
    _add(unit_of_work, job)
    broker.heads = {"text.interactive": (now() + AHEAD).timestamp()}
    for _ in range(SETTINGS.max_attempts + 1):
        assert sweeper.sweep() == 0
        with unit_of_work() as work:
            work.session.execute(update(Job).values(leased_until=now() - timedelta(seconds=1)))
    kept = _read(unit_of_work, job)
    assert (kept.status, kept.attempts) == ("queued", 0)
