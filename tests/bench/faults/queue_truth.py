"""Queue figures compared with the true numbers of messages, sampled continuously.

    make queues

Starts a throw-away Redis, queues messages of one job each and starts workers. Compares the figures
with the true numbers until every job is done; halfway a worker is killed and restarted.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import redis
from pydantic import SecretStr

from shared.broker import Broker
from shared.settings import BrokerSettings
from tests.bench.arguments import plain_parser
from tests.integration.conftest import VISIBILITY_SECONDS, WorkerProcess, Workers
from tests.integration.probe_worker import DONE
from tests.integration.queue_truth import Samples, park, sample, truth
from tests.support.servers import RedisServer, until

WORKER = "tests.integration.probe_worker"
#: Sampling time before the workers start.
WAITING_SECONDS = 2.0


def main() -> None:
    """Start Redis, measure and print a table."""
    parser = plain_parser(__doc__)
    parser.add_argument(
        "--jobs", type=int, default=1_000, help="number of messages (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=3, help="number of workers (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=8, help="threads per worker (default: %(default)s)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder)
        server.start()
        try:
            measure(server, folder, args.jobs, args.workers, args.threads)
        finally:
            server.kill()


def measure(server: RedisServer, folder: Path, jobs: int, count: int, threads: int) -> None:
    """Sample the figures before the workers start, while they run, and after one is killed."""
    broker = Broker(BrokerSettings(url=SecretStr(server.url)))
    client = redis.Redis.from_url(server.url)
    workers = Workers(environment(server, threads), folder)
    ids = park(broker, jobs)
    started: list[WorkerProcess] = []
    try:
        print(f"{jobs} jobs, {count} workers of {threads} threads; one is killed halfway")
        print(f"{'':12}{'samples':>8}{'wrong':>7}{'error':>7}{'hidden':>8}{'running':>9}{'ms':>7}")
        waiting_until = time.monotonic() + WAITING_SECONDS
        show("waiting", sample(broker, client, ids, lambda: time.monotonic() > waiting_until))
        started += [workers.start(WORKER) for _ in range(count)]
        show("in flight", sample(broker, client, ids, lambda: done(client) > jobs // 2))
        started[0].kill()
        started[0].start()
        show("one killed", sample(broker, client, ids, lambda: done(client) >= jobs))
        until(
            lambda: truth(client).left == 0, 4 * VISIBILITY_SECONDS, "every message is acknowledged"
        )
        depth = broker.depth("text.interactive")
        print(f"messages left: {depth.waiting} waiting, {depth.running} running")
    finally:
        for worker in started:
            worker.kill()


def environment(server: RedisServer, threads: int) -> dict[str, str]:
    """Return the environment of the workers."""
    return {
        "RAYON_BROKER_URL": server.url,
        "RAYON_BROKER_VISIBILITY_TIMEOUT_SECONDS": str(VISIBILITY_SECONDS),
        "RAYON_WORKER_THREADS": str(threads),
        "RAYON_METRICS_PORT": "0",
    }


def done(client: redis.Redis) -> int:
    """Return the number of handled jobs."""
    return int(client.hlen(DONE))


def show(name: str, samples: Samples) -> None:
    """Print one row of the table."""
    milliseconds = float(np.median(samples.seconds)) * 1000
    print(
        f"{name:12}{samples.count:8}{samples.wrong_moments:7}{samples.error:7}{samples.hidden:8}"
        f"{samples.running:9}{milliseconds:7.2f}"
    )


if __name__ == "__main__":
    main()
