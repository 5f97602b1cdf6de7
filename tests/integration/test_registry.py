"""The registry asks MLflow for one version, and for pages of the list, whatever their number."""

from pathlib import Path

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from shared.errors import InvalidInput, NotFound, Unavailable
from shared.inference.releases.registry import Releases
from shared.settings import ReleaseSettings

#: MLflow imports models that use a feature which SQLAlchemy has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

VERSIONS = 12


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an MLflow database with twelve releases: 3 is champion and 7 was rejected."""
    folder = tmp_path_factory.mktemp("mlflow")
    address = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    client.create_registered_model("rayon")
    for number in range(1, VERSIONS + 1):
        tags = {"text_f1_plain": f"0.{number:02}"}
        rejected = {"rayon.status": "rejected", "rayon.reason": "too slow"} if number == 7 else {}
        client.create_model_version(
            "rayon", str(folder), description=f"Run {number}", tags=tags | rejected
        )
    client.set_registered_model_alias("rayon", "champion", "3")
    return address


@pytest.fixture
def releases(address: str, tmp_path: Path) -> Releases:
    """Return a client of that MLflow."""
    return Releases(ReleaseSettings(mlflow_url=address, cache=tmp_path))


@pytest.fixture
def unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if all versions are read: their number grows with each training."""

    def refuse(*_args: object, **_options: object) -> list[ModelVersion]:
        raise AssertionError("Expected one version to be read. Received: all of them")

    monkeypatch.setattr(mlflow.MlflowClient, "search_model_versions", refuse)


@pytest.mark.usefixtures("unlisted")
def test_release_is_read_without_the_others(releases: Releases) -> None:
    found = releases.show("3")
    assert (found.version, found.aliases) == ("3", ("champion",))
    assert (found.description, found.figures) == ("Run 3", {"text_f1_plain": 0.03})
    assert found.rejected is None
    assert releases.show("champion") == found
    assert releases.show("7").rejected == "too slow"


@pytest.mark.usefixtures("unlisted")
def test_champion_moves_without_the_others(releases: Releases) -> None:
    releases.mark_challenger("5")
    assert releases.show("challenger").version == "5"
    releases.mark_champion("5")
    assert releases.show("5").aliases == ("champion",)
    with pytest.raises(NotFound):
        releases.show("challenger")
    releases.mark_challenger("6")
    releases.mark_champion("3")
    assert releases.show("6").aliases == ("challenger",)
    assert releases.champion() == "3"


@pytest.mark.usefixtures("unlisted")
@pytest.mark.parametrize(
    "name",
    ["0", "99", "007", "9" * 30, "-1", "1.0", "", "a b", "é", "٣", "x" * 300, "1\0", "v3", "../3"],
)
def test_other_names_are_not_found(releases: Releases, name: str) -> None:
    with pytest.raises(NotFound):
        releases.show(name)


def test_latest_is_the_newest_release(releases: Releases) -> None:
    assert releases.show("latest").version == str(VERSIONS)


def test_pages_are_the_list(releases: Releases) -> None:
    every = releases.versions()
    assert [one.version for one in every] == [str(number) for number in range(VERSIONS, 0, -1)]
    first, cursor = releases.page(5, None)
    second, further = releases.page(5, cursor)
    third, end = releases.page(5, further)
    assert [*first, *second, *third] == every
    assert end is None


def test_list_has_the_aliases(releases: Releases) -> None:
    releases.mark_challenger("11")
    aliases = {one.version: one.aliases for one in releases.versions() if one.aliases}
    assert aliases == {"3": ("champion",), "11": ("challenger",)}
    page, _ = releases.page(2, None)
    assert [one.aliases for one in page] == [(), ("challenger",)]


def test_release_that_is_registered_between_two_pages_repeats_none(
    releases: Releases, address: str
) -> None:
    _, cursor = releases.page(5, None)
    client = MlflowClient(address, address)
    added = client.create_model_version("rayon", "anywhere")
    try:
        second, _ = releases.page(5, cursor)
    finally:
        client.delete_model_version("rayon", added.version)
    assert [one.version for one in second] == ["7", "6", "5", "4"]


@pytest.mark.parametrize("cursor", ["", "x", "MTow", "////", "é", "5.x", "5."])
def test_foreign_cursor_is_refused(releases: Releases, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        releases.page(5, cursor)


def test_registry_without_a_release_is_empty(tmp_path: Path) -> None:
    releases = Releases(ReleaseSettings(mlflow_url=f"sqlite:///{tmp_path / 'empty.db'}"))
    assert releases.versions() == []
    assert releases.page(5, None) == ([], None)
    assert releases.champion() is None
    with pytest.raises(NotFound):
        releases.show("1")


def test_version_that_was_found_needs_no_registry(
    releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert releases.version_of("4") == "4"
    assert releases.version_of("champion") == "3"

    def down(*_args: object) -> ModelVersion:
        raise requests.ConnectionError("down in this test")

    for reads_one in ("get_model_version", "get_model_version_by_alias"):
        monkeypatch.setattr(mlflow.MlflowClient, reads_one, down)
    assert releases.version_of("4") == "4"
    assert releases.version_of("3") == "3"
    # An alias may name another version by now, and other versions may not exist.
    for name in ("champion", "5"):
        with pytest.raises(Unavailable):
            releases.version_of(name)
