"""Processes of the system with the progress of their loops, and those that are missing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from gateway.operations.schemas import LoopOut, ProcessOut
from shared import metrics
from shared.broker import Broker, Heartbeat
from shared.errors import Unavailable
from shared.progress import PROGRESS, LoopProgress

#: Role of this process in its heartbeat.
GATEWAY = "gateway"


def process_list(heartbeats: Iterable[Heartbeat]) -> list[ProcessOut]:
    """Return what operators see of each process."""
    return [
        ProcessOut(
            name=one.name,
            process=one.process,
            state=one.state,
            seconds_since_heartbeat=one.age_seconds,
            loops=[LoopOut.model_validate(asdict(loop)) for loop in one.loops],
        )
        for one in heartbeats
    ]


def missing(heartbeats: Iterable[Heartbeat], expected: Sequence[str]) -> list[str]:
    """Return the expected processes that have no heartbeat, not even an old one.

    A worker that consumes both lanes, such as `text`, counts for `text-interactive` too.
    """
    present = {one.process for one in heartbeats}
    return [one for one in expected if not present & {one, one.partition("-")[0]}]


def record_processes(broker: Broker, expected: Sequence[str]) -> None:
    """Export the numbers of processes by state as metrics. Raises `Unavailable`."""
    found = broker.heartbeats()
    counts: Counter[tuple[str, str]] = Counter((one.process, one.state) for one in found)
    absent = {(process, "missing"): 1 for process in missing(found, expected)}
    metrics.show(metrics.processes, {**counts, **absent})


def summary(broker: Broker, expected: Sequence[str]) -> Mapping[str, str]:
    """Return the state of each process in words that anybody may read.

    They hold no hosts, rows and reasons of failures. Without Redis only this process is known.
    """
    try:
        found = broker.heartbeats()
    except Unavailable:
        return unknown_but_own("the message queue does not answer")
    by_process: dict[str, list[Heartbeat]] = defaultdict(list)
    for one in found:
        by_process[one.process].append(one)
    words = {process: "; ".join(map(_words, ones)) for process, ones in by_process.items()}
    return dict(sorted({**words, **dict.fromkeys(missing(found, expected), "missing")}.items()))


def unknown_but_own(reason: str) -> Mapping[str, str]:
    """Return the state of this process, and why those of the others are unknown."""
    own = Heartbeat(GATEWAY, GATEWAY, 0.0, tuple(PROGRESS.report()))
    return {GATEWAY: _words(own), "others": f"unknown: {reason}"}


def _words(one: Heartbeat) -> str:
    if one.state == "silent":
        return f"silent for {one.age_seconds:.0f} s"
    loops = [_loop_words(loop) for loop in one.loops if loop.state != "ok"]
    return ", ".join(loops) or f"ok {one.age_seconds:.0f} s ago"


def _loop_words(loop: LoopProgress) -> str:
    if loop.state == "failing":
        return f"{loop.loop} failed {loop.failures} times in a row"
    return f"{loop.loop} without success for {loop.seconds_since_success:.0f} s"
