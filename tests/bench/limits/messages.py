"""Cost of messages: sender, Redis and receiver."""

import json
import multiprocessing
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from pydantic import SecretStr

from shared.broker import Broker
from shared.contracts import ScoreText
from shared.logs import configure_logs
from shared.settings import BrokerSettings, LogSettings
from tests.bench.limits.products import Product, slices, text_message
from tests.bench.limits.stopwatch import Cost, Stopwatch
from tests.support.servers import RedisServer, until

QUEUE = "text.catalog"
RESULT = "limits:result"
CONSUME_SECONDS = 300.0


def measure_queue(
    folder: Path, products: Sequence[Product], size: int, name: str
) -> tuple[dict[str, Cost], float]:
    """Publish and consume the products in messages of `size` rows.

    Returns:
        Cost of the sender, the receiver and Redis, and the memory of Redis in bytes per waiting
        row.
    """
    redis_folder = folder / f"redis-{size}"
    redis_folder.mkdir()
    server = RedisServer(redis_folder)
    server.start()
    try:
        broker = Broker(BrokerSettings(url=SecretStr(server.url)))
        client = redis.Redis.from_url(server.url)
        messages = [text_message(part) for part in slices(products, size)]
        broker.publish(messages[0])
        client.flushall()
        empty_bytes = _memory(client)
        sender_watch, redis_watch = Stopwatch.here(), Stopwatch.of_redis(client)
        for message in messages:
            broker.publish(message)
        sender, redis_publish = sender_watch.cost(len(products)), redis_watch.cost(len(products))
        bytes_per_row = (_memory(client) - empty_bytes) / len(products)
        receiver, redis_consume = consume(server.url, len(products), client)
    finally:
        server.kill()
    return {
        f"publish, {name}": sender,
        f"consume, {name}": receiver,
        f"Redis, {name}": Cost(
            len(products),
            redis_publish.seconds + redis_consume.seconds,
            redis_publish.cpu_seconds + redis_consume.cpu_seconds,
        ),
    }, bytes_per_row


def consume(url: str, count: int, client: redis.Redis) -> tuple[Cost, Cost]:
    """Empty the queue with a worker process; return its cost and that of Redis meanwhile."""
    worker = multiprocessing.get_context("spawn").Process(
        target=_consumer, args=(url, count), daemon=True
    )
    worker.start()
    try:
        until(lambda: client.exists(RESULT) == 1, CONSUME_SECONDS, "the queue is empty")
    finally:
        worker.terminate()
        worker.join()
    result: Any = client.get(RESULT)
    worker_cost, redis_cost = json.loads(result)
    return Cost(**worker_cost), Cost(**redis_cost)


def _consumer(url: str, count: int) -> None:
    """Count rows in a worker; store the cost from the first message to the last under `RESULT`."""
    broker, client = Broker(BrokerSettings(url=SecretStr(url))), redis.Redis.from_url(url)
    lock, seen = threading.Lock(), 0
    watches: list[Stopwatch] = []
    # Celery warns when it runs as root; this worker runs as the user of the benchmark.
    warnings.simplefilter("ignore")
    configure_logs(LogSettings(level="ERROR"), service="limits")

    def handle(request: ScoreText) -> None:
        nonlocal seen
        with lock:
            if not watches:
                watches.extend([Stopwatch.here(), Stopwatch.of_redis(client)])
            seen += len(request.items)
            if seen == count:
                client.set(RESULT, json.dumps([vars(watch.cost(count)) for watch in watches]))

    broker.subscribe(ScoreText, handle)
    broker.run([QUEUE], threads=16)


def _memory(client: redis.Redis) -> float:
    figures: Any = client.info("memory")
    return float(figures["used_memory"])
