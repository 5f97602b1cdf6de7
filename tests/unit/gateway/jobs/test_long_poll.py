"""Tests of waiting for jobs, with and without announcements."""

import asyncio
import threading
from collections.abc import Collection

import pytest

from gateway.jobs import long_poll
from gateway.jobs.long_poll import LongPolls, OnFinal

#: No test waits this long.
NEVER_SECONDS = 60.0


class Source:
    """Source of announcements that a test makes."""

    def __init__(self, listening_seconds: float = NEVER_SECONDS) -> None:
        self.listening_seconds = listening_seconds
        self.on_final: OnFinal = lambda _ids: None
        self.is_started = False

    def connect(self, on_final: OnFinal) -> "Source":
        self.on_final = on_final
        return self

    def start(self) -> None:
        self.is_started = True

    async def announce(self, *job_ids: str, answer: str | None = None) -> None:
        """Announce jobs in a thread, as the listener does."""
        announced = dict.fromkeys(job_ids, answer)
        thread = threading.Thread(target=self.on_final, args=(announced,))
        thread.start()
        await asyncio.to_thread(thread.join)


class Database:
    """Final jobs, and the questions for them."""

    def __init__(self, *final: str) -> None:
        self.final = {*final}
        self.asked: list[set[str]] = []

    def __call__(self, ids: Collection[str]) -> set[str]:
        self.asked.append({*ids})
        return self.final & {*ids}


async def waiting(polls: LongPolls, *job_ids: str) -> list[asyncio.Task[str | None]]:
    tasks = [asyncio.create_task(polls.until_final(one, NEVER_SECONDS)) for one in job_ids]
    await asyncio.sleep(0)
    return tasks


async def ended(*tasks: asyncio.Task[str | None]) -> None:
    done, others = await asyncio.wait(tasks, timeout=10)
    assert not others
    assert len(done) == len(tasks)


def polls_of(database: Database, source: Source) -> LongPolls:
    polls = LongPolls(database)
    polls.listen(source.connect)
    assert source.is_started
    return polls


def test_announced_job_wakes_its_clients_without_a_question_to_the_database() -> None:
    database, source = Database(), Source()

    async def scene() -> None:
        polls = polls_of(database, source)
        first, again, other = await waiting(polls, "a", "a", "b")
        await source.announce("a", "unknown")
        await ended(first, again)
        assert not other.done()
        await source.announce("b")
        await ended(other)

    asyncio.run(scene())
    assert database.asked == []


def test_job_announced_just_before_its_client_waits_is_not_missed() -> None:
    database, source = Database(), Source()

    async def scene() -> None:
        polls = polls_of(database, source)
        await source.announce("a")
        await asyncio.wait_for(polls.until_final("a", NEVER_SECONDS), 10)

    asyncio.run(scene())
    assert database.asked == []


def test_clients_get_the_answer_that_is_announced_while_they_wait() -> None:
    database, source = Database(), Source()

    async def scene() -> list[str | None]:
        polls = polls_of(database, source)
        clients = await waiting(polls, "a", "a", "b")
        await source.announce("a", answer="{}")
        await source.announce("b")
        await ended(*clients)
        return [one.result() for one in clients]

    assert asyncio.run(scene()) == ["{}", "{}", None]
    assert database.asked == []


def test_answer_of_a_moment_ago_is_left_to_the_database() -> None:
    # The job may have been queued once more since.
    async def scene() -> str | None:
        source = Source()
        polls = polls_of(Database(), source)
        await source.announce("a", answer="{}")
        return await asyncio.wait_for(polls.until_final("a", NEVER_SECONDS), 10)

    assert asyncio.run(scene()) is None


def test_second_announcement_before_the_client_runs_again_is_ignored() -> None:
    failures: list[object] = []

    async def scene() -> str | None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failures.append(context)
        )
        source = Source()
        polls = polls_of(Database(), source)
        (client,) = await waiting(polls, "a")
        source.on_final({"a": "{}"})
        source.on_final({"a": "[]"})
        return await client

    assert asyncio.run(scene()) == "{}"
    assert failures == []


def test_old_announcement_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    # A failed row of a catalog may be queued again.
    monkeypatch.setattr(long_poll, "SETTLED_SECONDS", 0.0)

    async def scene() -> None:
        source = Source()
        polls = polls_of(Database(), source)
        await source.announce("a")
        (client,) = await waiting(polls, "a")
        await asyncio.sleep(0.05)
        assert not client.done()
        polls.close()
        await ended(client)

    asyncio.run(scene())


@pytest.mark.parametrize("listening_seconds", [0.0, long_poll.SETTLED_SECONDS / 2])
def test_database_is_asked_at_once_while_announcements_may_be_missed(
    monkeypatch: pytest.MonkeyPatch, listening_seconds: float
) -> None:
    monkeypatch.setattr(long_poll, "HEARD_POLL_SECONDS", NEVER_SECONDS)
    database = Database("a")

    async def scene() -> None:
        polls = polls_of(database, Source(listening_seconds))
        await asyncio.wait_for(polls.until_final("a", NEVER_SECONDS), 10)

    asyncio.run(scene())
    assert database.asked == [{"a"}]


def test_lost_announcement_only_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "HEARD_POLL_SECONDS", 0.05)
    database = Database("a")

    async def scene() -> None:
        polls = polls_of(database, Source())
        await asyncio.wait_for(polls.until_final("a", NEVER_SECONDS), 10)

    asyncio.run(scene())
    assert database.asked == [{"a"}]


def test_closing_releases_clients_at_once_while_announcements_are_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(long_poll, "HEARD_POLL_SECONDS", NEVER_SECONDS)

    async def scene() -> None:
        polls = polls_of(Database(), Source())
        clients = await waiting(polls, "a", "b")
        polls.close()
        await ended(*clients)

    asyncio.run(scene())


def test_announced_jobs_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "MOST_ANNOUNCED", 2)
    monkeypatch.setattr(long_poll, "HEARD_POLL_SECONDS", NEVER_SECONDS)

    async def scene() -> None:
        source = Source()
        polls = polls_of(Database(), source)
        await source.announce("a", "b", "c")
        await asyncio.wait_for(polls.until_final("c", NEVER_SECONDS), 10)
        (forgotten,) = await waiting(polls, "a")
        await asyncio.sleep(0.05)
        assert not forgotten.done()
        polls.close()
        await ended(forgotten)

    asyncio.run(scene())
