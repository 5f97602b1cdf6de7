"""Cost of messages: sender, Redis and receiver."""

import json
import multiprocessing
import threading
import time
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
from tests.support.servers import RedisServer

QUEUE = "text.catalog"
RESULT = "limits:result"
CONSUME_SECONDS = 300.0


def queue(
    folder: Path, products: Sequence[Product], size: int, name: str
) -> tuple[dict[str, Cost], float]:
    """Publish and consume; what the sender, Redis and the receiver spend, and Redis's memory."""
    place = folder / f"redis-{size}"
    place.mkdir()
    server = RedisServer(place)
    server.start()
    try:
        broker = Broker(BrokerSettings(url=SecretStr(server.url)))
        client = redis.Redis.from_url(server.url)
        messages = [text_message(part) for part in slices(products, size)]
        broker.publish(messages[0])
        client.flushall()
        memory = _memory(client)
        sent, of_redis = Stopwatch.here(), Stopwatch.of_redis(client)
        for message in messages:
            broker.publish(message)
        publishing, storing = sent.cost(len(products)), of_redis.cost(len(products))
        waiting = (_memory(client) - memory) / len(products)
        receiving, giving = consume(server.url, len(products), client)
    finally:
        server.kill()
    both = Cost(
        len(products), storing.seconds + giving.seconds, storing.cpu_seconds + giving.cpu_seconds
    )
    return {
        f"publish, {name}": publishing,
        f"consume, {name}": receiving,
        f"Redis, {name}": both,
    }, waiting


def consume(url: str, count: int, client: redis.Redis) -> tuple[Cost, Cost]:
    """Let a worker of its own empty the queue; returns what it spent, and Redis meanwhile."""
    worker = multiprocessing.get_context("spawn").Process(
        target=_consumer, args=(url, count), daemon=True
    )
    worker.start()
    try:
        _until(lambda: client.exists(RESULT) == 1, "the queue is empty")
    finally:
        worker.terminate()
        worker.join()
    found: Any = client.get(RESULT)
    here, of_redis = json.loads(found)
    return Cost(**here), Cost(**of_redis)


def _consumer(url: str, count: int) -> None:
    """A worker that counts rows, and tells what that cost from the first message to the last."""
    broker, client = Broker(BrokerSettings(url=SecretStr(url))), redis.Redis.from_url(url)
    lock, seen = threading.Lock(), 0
    watches: list[Stopwatch] = []
    # Celery would have another user than root; here it is this machine's own worker.
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
    said: Any = client.info("memory")
    return float(said["used_memory"])


def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + CONSUME_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"Not within {CONSUME_SECONDS:.0f} s: {what}")
        time.sleep(0.1)
