"""Tests of the `Prefer` header."""

import pytest

from gateway.jobs.preferences import LONGEST_HEADER, preferred_wait


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10),
        ("WAIT=10", 10),
        ("wait = 10", 10),
        ('wait="10"', 10),
        ("wait=2.5", 2.5),
        ("respond-async, wait=10", 10),
        ("handling=lenient;why=much, wait=10; note=x", 10),
        # The first of several applies.
        ("wait=3, wait=9", 3),
        ("wait=100", 30),
        (None, 0),
        ("", 0),
        ("wait=0", 0),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-5", 0),
        ("wait=soon", 0),
        ("wait=1e3", 0),
        ("wait=10 20", 0),
        ("await=10", 0),
        # A comma in a quoted text separates nothing.
        ('foo="a, wait=10"', 0),
        ('foo="a\\", wait=10"', 0),
        ('foo="a, b", wait=10', 10),
        ("wait=10" + " " * LONGEST_HEADER, 0),
    ],
)
def test_wait_is_read_from_the_header(header: str | None, seconds: float) -> None:
    assert preferred_wait(header, longest=30) == seconds
