"""Faults of a running Redis: it answers, and refuses to write."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import cast

import redis

from tests.support.servers import until

Fault = Callable[[redis.Redis], AbstractContextManager[None]]


@contextmanager
def _configured(client: redis.Redis, **settings: object) -> Iterator[None]:
    """Change settings during the block."""
    names = [name.replace("_", "-") for name in settings]
    before = [cast(dict[str, str], client.config_get(name))[name] for name in names]
    for name, value in zip(names, settings.values(), strict=True):
        client.config_set(name, str(value))
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            client.config_set(name, value)


def full(client: redis.Redis) -> AbstractContextManager[None]:
    """Fill the memory: `OOM`."""
    return _configured(client, maxmemory=1)


def without_replicas(client: redis.Redis) -> AbstractContextManager[None]:
    """Demand a replica that is not there: `NOREPLICAS`."""
    return _configured(client, min_replicas_to_write=1)


@contextmanager
def read_only(client: redis.Redis) -> Iterator[None]:
    """Make it the replica of a server that is not there: `READONLY`."""
    client.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        client.replicaof("NO", "ONE")


@contextmanager
def unable_to_save(client: redis.Redis) -> Iterator[None]:
    """Let a snapshot fail: `MISCONF`. Nobody can write in `/proc`, not even root."""
    with _configured(client, save="3600 1", dir="/proc"):

        def is_refusing() -> bool:
            # One may be running already.
            with suppress(redis.ResponseError):
                client.bgsave()
            return bool(client.info("persistence")["rdb_last_bgsave_status"] == "err")

        until(is_refusing, 20, "the snapshot has failed")
        yield


FAULTS: dict[str, Fault] = {
    "OOM": full,
    "READONLY": read_only,
    "MISCONF": unable_to_save,
    "NOREPLICAS": without_replicas,
}
