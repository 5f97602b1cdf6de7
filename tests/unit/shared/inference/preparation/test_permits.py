import threading

import pytest

from shared.errors import Unavailable
from shared.inference.preparation.permits import Permits
from tests.support.servers import until


def test_permits_of_a_key_are_limited() -> None:
    permits = Permits(2, seconds=0.01)
    permits.take("a")
    permits.take("a")
    with pytest.raises(Unavailable, match="2 messages of the user have large images"):
        permits.take("a")
    permits.take("b")
    permits.give_back("a")
    permits.take("a")


def test_waiting_ends_when_a_permit_is_returned() -> None:
    permits, taken = Permits(1, seconds=60), threading.Event()
    permits.take("a")

    def take() -> None:
        permits.take("a")
        taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    permits.give_back("a")
    until(taken.is_set, 30, "the permit is taken")
    waiting.join()


def test_keys_are_not_kept() -> None:
    permits = Permits(1, seconds=0.01)
    for number in range(10):
        permits.take(f"user {number}")
        permits.give_back(f"user {number}")
    assert not permits._taken
