"""All faults, in the order in which they are tried."""

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager

from tests.bench.nights import clock, machine, releases, stores
from tests.bench.nights.databases import SQLITE
from tests.bench.nights.fault import Fault
from tests.bench.nights.night import Night
from tests.bench.nights.outcome import ACCEPT_SECONDS, Allowed

AT_ONCE = Allowed(accept_seconds=ACCEPT_SECONDS)
MAY_REFUSE = Allowed(to_refuse=True)

#: Faults from which an earlier version does not recover come last among those of their kind.
FAULTS: Sequence[Fault] = (
    Fault("redis-stopped", stores.redis_stopped, AT_ONCE),
    Fault("database-stalled", stores.database_stalled, MAY_REFUSE),
    Fault("mlflow-stopped", stores.mlflow_stopped),
    stores.refusing("OOM"),
    stores.refusing("READONLY"),
    stores.refusing("MISCONF"),
    stores.refusing("NOREPLICAS"),
    Fault("broken-append-only-file", stores.broken_append_only_file, AT_ONCE, seconds=0.0),
    Fault("fusion-paused", machine.fusion_paused),
    Fault("long-polls", machine.long_polls, MAY_REFUSE, seconds=0.5),
    *(machine.killed(name) for name in machine.KILLED if name != "supervisord"),
    Fault("kill-all", machine.all_killed, Allowed(to_close=True, to_hang_up=True), seconds=0.0),
    Fault("broken-model", machine.broken_model, seconds=0.0),
    Fault("disk-full", machine.disk_full, MAY_REFUSE),
    machine.killed("supervisord"),
    Fault("mlflow-stopped-in-promotion", stores.mlflow_stopped_in_promotion),
    Fault("500-releases", releases.many, seconds=0.0, databases=(SQLITE,)),
)


@contextmanager
def _nothing(_night: Night) -> Iterator[None]:
    yield


#: Faults of systems that start in a way of their own.
IPV6 = Fault("ipv6", _nothing, seconds=0.2)
CLOCK = Fault("clock-two-hours-back", clock.stepped_back, seconds=0.0)
FOREIGN = "start-foreign"


def names() -> list[str]:
    """Return the names of all faults."""
    return [fault.name for fault in (*FAULTS, IPV6, CLOCK)] + [FOREIGN]


def chosen(faults: Sequence[Fault], only: Set[str]) -> list[Fault]:
    """Return the faults with these names; all of them without names."""
    return [fault for fault in faults if not only or fault.name in only]
