"""Announcements of final jobs over a real Redis."""

from collections.abc import Collection, Mapping

import pytest
import redis
from pydantic import SecretStr

from shared.broker import Broker, announcements
from shared.settings import BrokerSettings
from tests.support.servers import RedisServer, until


class Heard:
    """Listener that keeps the ids it heard."""

    def __init__(self, broker: Broker) -> None:
        self.ids: list[str] = []
        self.answers: dict[str, str | None] = {}
        self.listener = broker.listener(self.hear)
        self.listener.start()
        self.until_listening()

    def hear(self, answers: Mapping[str, str | None]) -> None:
        self.ids.extend(answers)
        self.answers |= answers

    def until_listening(self) -> None:
        until(lambda: self.listener.listening_seconds > 0, 20, "the listener listens")


def broker_of(url: str) -> Broker:
    return Broker(BrokerSettings(url=SecretStr(url), answer_seconds=1), has_breaker=True)


def test_every_gateway_hears_all_final_jobs_on_one_connection(redis_url: str) -> None:
    gateways = [Heard(broker_of(redis_url)) for _ in range(2)]
    many = [f"job-{number}" for number in range(announcements.LARGEST + 1)]
    broker = broker_of(redis_url)
    broker.announce(dict.fromkeys(many))
    broker.announce({"last": None})
    until(lambda: all("last" in one.ids for one in gateways), 10, "all are heard")
    assert [one.ids for one in gateways] == [[*many, "last"]] * 2
    with redis.Redis.from_url(redis_url) as client:
        assert client.pubsub_numsub(announcements.FINAL)[0][1] == 2


def test_answers_are_heard_with_their_jobs(redis_url: str) -> None:
    heard, broker = Heard(broker_of(redis_url)), broker_of(redis_url)
    answer = '{"category": "Jeux & jouets, d\'éveil", "note": "two\\nlines"}'
    broker.announce({"queued": None, "done": answer})
    many = [f"job-{number}" for number in range(announcements.LARGEST + 1)]
    broker.announce(dict.fromkeys(many) | {many[0]: "0", many[-1]: "1"})
    until(lambda: many[-1] in heard.ids, 10, "all are heard")
    assert heard.ids == ["queued", "done", *many]
    answers = {job: found for job, found in heard.answers.items() if found is not None}
    assert answers == {"done": answer, many[0]: "0", many[-1]: "1"}


def test_broken_connection_is_replaced_and_counts_as_new(redis_url: str) -> None:
    heard = Heard(broker_of(redis_url))
    until(lambda: heard.listener.listening_seconds > 0.5, 10, "the listener has listened")
    with redis.Redis.from_url(redis_url) as client:
        client.client_kill_filter(_type="pubsub")
    # Announcements during the interruption are lost, so the time of listening starts at zero.
    until(lambda: heard.listener.listening_seconds < 0.5, 10, "the loss is noticed")
    heard.until_listening()
    broker_of(redis_url).announce({"after": None})
    until(lambda: heard.ids == ["after"], 10, "the listener hears again")


def test_listener_waits_for_a_redis_that_is_down(redis_server: RedisServer) -> None:
    broker = broker_of(redis_server.url)
    heard = Heard(broker)
    redis_server.kill()
    until(lambda: heard.listener.listening_seconds == 0, 10, "the loss is noticed")
    # The writer of a final state does not fail, and does not wait.
    broker.announce({"lost": None})
    redis_server.start()
    heard.until_listening()
    broker_of(redis_server.url).announce({"heard": None})
    until(lambda: "heard" in heard.ids, 10, "the listener hears again")
    assert "lost" not in heard.ids


def test_silent_redis_is_noticed(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(announcements, "ANSWER_SECONDS", 0.5)
    heard = Heard(broker_of(redis_server.url))
    # An idle connection stays, because Redis answers.
    until(lambda: heard.listener.listening_seconds > 1.5, 10, "the connection stays")
    redis_server.pause()
    until(lambda: heard.listener.listening_seconds == 0, 10, "the silence is noticed")
    redis_server.resume_or_restart()
    heard.until_listening()


def test_failing_callback_does_not_end_the_thread(redis_url: str) -> None:
    broker = broker_of(redis_url)
    calls: list[object] = []

    def fail_once(job_ids: Collection[str]) -> None:
        calls.append(job_ids)
        if len(calls) == 1:
            raise ZeroDivisionError

    listener = broker.listener(fail_once)
    listener.start()
    until(lambda: listener.listening_seconds > 0, 20, "the listener listens")
    broker.announce({"first": None})
    until(lambda: len(calls) == 1, 10, "the first is heard")

    def is_heard_again() -> bool:
        # An announcement is lost if the listener has not subscribed again yet, so it is repeated.
        broker.announce({"second": None})
        return len(calls) > 1

    until(is_heard_again, 20, "the second is heard")
