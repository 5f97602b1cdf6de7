import threading
from concurrent.futures import ThreadPoolExecutor

from shared.broker.isolation import Isolation
from tests.support.servers import until


def test_first_deliveries_run_concurrently() -> None:
    isolation = Isolation()
    meeting = threading.Barrier(4, timeout=5)

    def run() -> None:
        with isolation.together():
            meeting.wait()

    with ThreadPoolExecutor(4) as threads:
        for result in [threads.submit(run) for _ in range(4)]:
            result.result(5)


def test_redelivered_message_waits_for_running_ones_and_precedes_new_ones() -> None:
    isolation = Isolation()
    order: list[str] = []

    def alone() -> None:
        with isolation.alone():
            order.append("alone")

    def together() -> None:
        with isolation.together():
            order.append("together")

    with ThreadPoolExecutor(2) as threads:
        with isolation.together():
            threads.submit(alone)
            until(lambda: isolation._waiting_to_be_alone == 1, 5, "the redelivered message waits")
            threads.submit(together)
            assert order == []
        until(lambda: len(order) == 2, 5, "both ran")
    assert order == ["alone", "together"]


def test_hanging_handler_blocks_others_only_until_the_timeout() -> None:
    isolation = Isolation(patience_seconds=0.05)
    order: list[str] = []
    with isolation.together(), isolation.alone():
        order.append("alone")
        with isolation.together():
            order.append("together")
    assert order == ["alone", "together"]
