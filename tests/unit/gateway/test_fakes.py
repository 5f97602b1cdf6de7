"""Tests that the fakes have the signatures of the real classes."""

import inspect

import pytest

from shared.broker import Broker
from shared.inference.releases.registry import Releases
from tests.support.fakes import FakeBroker, FakeReleases


@pytest.mark.parametrize(("fake", "real"), [(FakeBroker, Broker), (FakeReleases, Releases)])
def test_fake_has_the_real_signatures(fake: type, real: type) -> None:
    names = [name for name, _ in inspect.getmembers(fake, inspect.isfunction) if name[0] != "_"]
    assert names
    for name in names:
        assert inspect.signature(getattr(fake, name)) == inspect.signature(getattr(real, name))
