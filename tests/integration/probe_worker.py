"""A worker whose behaviour depends on the title of a product.

    python -m tests.integration.probe_worker

The title `die once` kills the process at the first attempt, `die` at each attempt; `break` raises;
`slow` and `brief` take time. The Redis hash `probe:tries` counts the attempts of each job,
`probe:done` the completions and `probe:parked` the dead letters.
"""

import os
import signal
import sys
import time

import redis

from shared.broker import Broker
from shared.contracts import Lane, MessageParked, ScoreText, TextItem, queue_name
from shared.logs import configure_logs
from shared.settings import BrokerSettings, LogSettings, WorkerSettings

#: `slow` is long enough to be running when another item kills the process.
SLOW_SECONDS, BRIEF_SECONDS = 0.5, 0.02
DONE, TRIES, PARKED = "probe:done", "probe:tries", "probe:parked"


class Probe:
    """Handler that acts on the titles and counts in Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def score_text(self, request: ScoreText) -> None:
        """Handle the items of a slice, then record them as done."""
        for item in request.items:
            tries = int(self._client.hincrby(TRIES, item.job_id, 1))
            self._act(item, tries)
        for item in request.items:
            self._client.hincrby(DONE, item.job_id, 1)

    def on_message_parked(self, parked: MessageParked) -> None:
        """Record the jobs of a dead letter."""
        for item in parked.payload["items"]:
            self._client.hincrby(PARKED, item["job_id"], 1)

    def _act(self, item: TextItem, tries: int) -> None:
        if item.designation == "die" or (item.designation == "die once" and tries == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if item.designation == "slow":
            time.sleep(SLOW_SECONDS)
        if item.designation == "brief":
            time.sleep(BRIEF_SECONDS)
        if item.designation == "break":
            raise ArithmeticError("the title is `break`")


def main() -> int:
    """Consume until SIGTERM."""
    configure_logs(LogSettings(), service="probe")
    settings = BrokerSettings()
    broker = Broker(settings)
    probe = Probe(redis.Redis.from_url(settings.url.get_secret_value()))
    broker.subscribe(ScoreText, probe.score_text)
    broker.subscribe(MessageParked, probe.on_message_parked)
    queues = [queue_name(station, Lane.INTERACTIVE) for station in ("text", "fusion")]
    broker.presence("probe", queues).start()
    broker.heartbeat("probe").start()
    return broker.run(queues, threads=WorkerSettings().threads)


if __name__ == "__main__":
    sys.exit(main())
