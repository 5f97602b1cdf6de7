"""Queue figures against the truth, at as many moments as there is time for.

    make queues

Starts a Redis of its own, parks messages of one job each, starts workers, and looks at the figures
and at the truth beside them until every job is done; halfway a worker is killed and started again.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import redis
from pydantic import SecretStr

from shared.broker import Broker
from shared.settings import BrokerSettings
from tests.integration.conftest import VISIBILITY_SECONDS, Workers
from tests.integration.probe_worker import DONE
from tests.integration.queue_truth import Samples, park, sample, truth
from tests.support.servers import RedisServer, until

WORKER = "tests.integration.probe_worker"
START_SECONDS = 60
PARKED_SECONDS = 2.0


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--threads", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder)
        server.start()
        try:
            measure(server, folder, given.jobs, given.workers, given.threads)
        finally:
            server.kill()


def measure(server: RedisServer, folder: Path, jobs: int, count: int, threads: int) -> None:
    """Park, look, start workers, look, kill one, look until all is done."""
    broker = Broker(BrokerSettings(url=SecretStr(server.url)))
    client = redis.Redis.from_url(server.url)
    workers = Workers(environment(server, threads), folder)
    ids = park(broker, jobs)
    try:
        print(f"{jobs} jobs, {count} workers of {threads} threads; one is killed halfway")
        print(f"{'':12}{'moments':>8}{'wrong':>7}{'error':>7}{'hidden':>8}{'running':>9}{'ms':>7}")
        until_parked = time.monotonic() + PARKED_SECONDS
        show("parked", sample(broker, client, ids, lambda: time.monotonic() > until_parked))
        started = [workers.start(WORKER) for _ in range(count)]
        show("in flight", sample(broker, client, ids, lambda: done(client) > jobs // 2))
        started[0].kill()
        started[0].start()
        show("one killed", sample(broker, client, ids, lambda: done(client) >= jobs))
        until(lambda: truth(client).left == 0, 4 * VISIBILITY_SECONDS, "all is acknowledged")
        depth = broker.depth("text.interactive")
        print(f"left at the end: {depth.waiting} waiting, {depth.running} running")
    finally:
        for worker in started:
            worker.kill()


def environment(server: RedisServer, threads: int) -> dict[str, str]:
    """Environment of the workers."""
    return {
        "RAYON_BROKER_URL": server.url,
        "RAYON_BROKER_VISIBILITY_TIMEOUT_SECONDS": str(VISIBILITY_SECONDS),
        "RAYON_WORKER_THREADS": str(threads),
        "RAYON_METRICS_PORT": "0",
    }


def done(client: redis.Redis) -> int:
    """Number of handled jobs."""
    return int(client.hlen(DONE))


def show(name: str, samples: Samples) -> None:
    """Print a line."""
    milliseconds = float(np.median(samples.seconds)) * 1000
    print(
        f"{name:12}{samples.count:8}{samples.wrong_moments:7}{samples.error:7}{samples.hidden:8}"
        f"{samples.running:9}{milliseconds:7.2f}"
    )


if __name__ == "__main__":
    main()
