"""The registry asks MLflow for one version, and for pages of the list, whatever their number."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from pydantic import SecretStr

from infra.embedded.programs import programs
from infra.embedded.settings import EmbeddedSettings
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.inference.releases.mlflow_server import MlflowServer
from shared.inference.releases.registry import Releases
from shared.inference.releases.shared_champion import SharedChampion
from shared.settings import ReleaseSettings
from tests.support.servers import free_port, until
from tests.support.tiny_release import write_tiny_release

#: MLflow imports models that use a feature which SQLAlchemy has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

VERSIONS = 12
START_SECONDS = 120.0
TOKEN = "token-of-this-test"


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Run the registry's server as `make run` does; yield its address."""
    settings = EmbeddedSettings(home=home, mlflow_port=free_port())
    (home / "mlflow").mkdir()
    (home / "token").write_text(TOKEN)
    program = programs(settings, home, home, home / "token")[0]
    environment = {**os.environ, **program.environment}
    with subprocess.Popen(program.command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: is_up(settings.mlflow_url), START_SECONDS, "MLflow responds")
            yield settings.mlflow_url
        finally:
            process.terminate()


def is_up(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=5).ok
    except requests.RequestException:
        return False


def settings_of(address: str, cache: Path) -> ReleaseSettings:
    return ReleaseSettings(mlflow_url=address, token=SecretStr(TOKEN), cache=cache)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of an MLflow without releases."""
    with served(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Return the addresses of an MLflow and of its database, in which there are twelve releases.

    Version 3 is champion and 7 was rejected.
    """
    home = tmp_path_factory.mktemp("mlflow")
    with served(home) as address:
        tables = f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"
        client = MlflowClient(tracking_uri=tables, registry_uri=tables)
        client.create_registered_model("rayon")
        for number in range(1, VERSIONS + 1):
            tags = {"text_f1_plain": f"0.{number:02}"}
            rejected = (
                {"rayon.status": "rejected", "rayon.reason": "too slow"} if number == 7 else {}
            )
            client.create_model_version(
                "rayon", str(home), description=f"Run {number}", tags=tags | rejected
            )
        client.set_registered_model_alias("rayon", "champion", "3")
        yield address, tables


@pytest.fixture
def releases(database: tuple[str, str], tmp_path: Path) -> Releases:
    """Return a client of the MLflow with twelve releases."""
    return Releases(settings_of(database[0], tmp_path))


@pytest.fixture
def unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if all versions are read: their number grows with each training."""
    get = MlflowServer.get

    def refuse(self: MlflowServer, call: str, **parameters: object) -> dict[str, object]:
        if call == "model-versions/search":
            raise AssertionError("Expected one version to be read. Received: all of them")
        return get(self, call, **parameters)

    monkeypatch.setattr(MlflowServer, "get", refuse)


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


def test_moved_alias_ends_the_answer_that_processes_share(
    releases: Releases, database: tuple[str, str], tmp_path: Path
) -> None:
    shared = SharedChampion(releases, settings_of(database[0], tmp_path))
    assert shared.champion() == "3"
    releases.mark_champion("5")
    assert shared.champion() == "5"
    releases.mark_champion("3")


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
    releases: Releases, database: tuple[str, str]
) -> None:
    _, cursor = releases.page(5, None)
    client = MlflowClient(database[1], database[1])
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


def test_registry_without_a_release_is_empty(empty: str, tmp_path: Path) -> None:
    releases = Releases(settings_of(empty, tmp_path))
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

    def down(*_args: object, **_options: object) -> dict[str, object]:
        raise requests.ConnectionError("down in this test")

    monkeypatch.setattr(MlflowServer, "get", down)
    assert releases.version_of("4") == "4"
    assert releases.version_of("3") == "3"
    # An alias may name another version by now, and other versions may not exist.
    for name in ("champion", "5"):
        with pytest.raises(Unavailable):
            releases.version_of(name)


def test_registered_release_is_downloaded(empty: str, tmp_path: Path) -> None:
    folder = write_tiny_release(tmp_path / "made", in_two_steps=True)
    version = Releases(settings_of(empty, tmp_path / "other")).register(folder, description="made")
    copy = Releases(settings_of(empty, tmp_path / "cache")).folder(version)
    made = {path.relative_to(folder): path.read_bytes() for path in files_below(folder)}
    copied = {path.relative_to(copy): path.read_bytes() for path in files_below(copy)}
    copied.pop(Path("checksums.json"))
    assert copied == made


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_wrong_token_is_no_missing_release(empty: str, tmp_path: Path) -> None:
    settings = settings_of(empty, tmp_path).model_copy(update={"token": SecretStr("another")})
    with pytest.raises(Unavailable, match="401"):
        Releases(settings).champion()


def test_serving_imports_no_mlflow(database: tuple[str, str], tmp_path: Path) -> None:
    # MLflow's client would take 75 MiB in each process.
    code = """
import sys
from shared.inference.releases.registry import Releases
from shared.settings import ReleaseSettings
releases = Releases(ReleaseSettings(), has_breaker=True)
assert releases.champion() == "3"
releases.versions(), releases.mark_champion("3"), releases.version_of("4")
sys.exit("mlflow" in sys.modules)
"""
    environment = {
        **os.environ,
        "RAYON_RELEASES_MLFLOW_URL": database[0],
        "RAYON_RELEASES_TOKEN": TOKEN,
        "RAYON_RELEASES_CACHE": str(tmp_path),
    }
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
