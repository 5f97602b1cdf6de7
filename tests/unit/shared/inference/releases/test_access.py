"""The registry and its fakes have what the protocols of their callers ask for."""

import inspect

import pytest

from shared.inference.releases import access
from shared.inference.releases.registry import Releases
from tests.support.fakes import FakeReleases, FolderReleases
from tests.support.folder_registry import FolderRegistry

PROTOCOLS = [
    access.ChampionReader,
    access.ReleaseFinder,
    access.ReleaseFolders,
    access.ReleaseReader,
    access.ServedReleases,
    access.ChampionWriter,
    access.Registry,
]


def signatures(protocol: type) -> dict[str, inspect.Signature]:
    methods = inspect.getmembers(protocol, inspect.isfunction)
    return {name: inspect.signature(method) for name, method in methods if name[0] != "_"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_registry_has_the_signatures_of_the_protocol(protocol: type) -> None:
    wanted = signatures(protocol)
    assert wanted
    assert wanted == {name: signatures(Releases)[name] for name in wanted}


@pytest.mark.parametrize(
    ("fake", "protocol"),
    [
        (FakeReleases, access.ChampionWriter),
        (FolderReleases, access.ServedReleases),
        (FolderRegistry, access.Registry),
    ],
)
def test_fake_has_the_signatures_of_the_protocol(fake: type, protocol: type) -> None:
    wanted = signatures(protocol)
    assert wanted == {name: signatures(fake)[name] for name in wanted}
