"""Redis starts again after its append-only file was broken: in the embedded run and in Compose."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis

from infra.embedded.programs import programs
from infra.embedded.redis_server import redis_binary, write_configuration
from infra.embedded.redis_start import ASIDE, KEPT, notes, set_aside
from infra.embedded.settings import PROJECT, EmbeddedSettings
from infra.embedded.supervision import Supervisor
from tests.support.servers import free_port, until

SECONDS = 60


class EmbeddedRedis:
    """Redis alone, under a supervisord of its own."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.folder = home / "redis"
        self.log = home / "logs" / "redis.log"
        configuration = write_configuration(self.folder, port, "secret")
        listed = programs(
            EmbeddedSettings(home=home), redis_binary(), configuration, home / "token"
        )
        self.client = redis.Redis(port=port, password="secret")
        self._supervisor = Supervisor(home, [one for one in listed if one.name == "redis"])

    def start(self) -> None:
        self._supervisor.start(dict(os.environ))
        until(self.is_alive, SECONDS, "Redis answers")

    def stop(self) -> None:
        self._supervisor.stop()

    def is_alive(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def pid(self) -> int:
        return int(self.client.info("server")["process_id"])

    @property
    def file(self) -> Path:
        """The file with the commands."""
        until_6 = self.folder / "appendonly.aof"
        since_7 = sorted((self.folder / "appendonlydir").glob("*.incr.aof"))
        return until_6 if until_6.exists() else since_7[-1]

    @property
    def aside(self) -> list[Path]:
        folder = self.folder / ASIDE
        return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    found = EmbeddedRedis(tmp_path)
    yield found
    found.stop()
    found.client.close()


def _garbage_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + b"\0" * 64 + content[middle:]


def _flipped_command(content: bytes) -> bytes:
    return content.replace(b"SET\r\n", b"SeU\r\n", 1)


def _nothing_but_garbage(content: bytes) -> bytes:
    return b"garbage" * 100


@pytest.mark.parametrize("damage", [_garbage_in_the_middle, _flipped_command, _nothing_but_garbage])
def test_redis_starts_empty_and_keeps_the_broken_file(
    embedded: EmbeddedRedis, damage: Callable[[bytes], bytes]
) -> None:
    # Given a Redis whose file was broken while it was stopped
    embedded.start()
    for number in range(100):
        embedded.client.set(f"key-{number}", "value")
    embedded.stop()
    broken = damage(embedded.file.read_bytes())
    name = embedded.file.name
    embedded.file.write_bytes(broken)
    start = embedded.log.stat().st_size
    # When it starts
    embedded.start()
    # I expect an empty Redis that takes messages, the file, and one line
    assert embedded.client.dbsize() == 0
    assert embedded.client.set("new", "value")
    (kept,) = embedded.aside
    assert next(kept.rglob(name)).read_bytes() == broken
    assert len(notes(embedded.log, start)) == 1


def test_file_that_breaks_while_it_runs_is_set_aside_at_its_next_start(
    embedded: EmbeddedRedis,
) -> None:
    embedded.start()
    embedded.client.set("key", "value")
    embedded.file.write_bytes(b"garbage" * 100)
    os.kill(embedded.pid(), 9)
    until(lambda: bool(embedded.aside) and embedded.is_alive(), SECONDS, "it runs again")
    assert embedded.client.dbsize() == 0


def test_readable_file_is_kept_however_redis_ended(embedded: EmbeddedRedis) -> None:
    embedded.start()
    embedded.client.set("key", "value")
    killed = embedded.pid()
    os.kill(killed, 9)
    until(lambda: embedded.is_alive() and embedded.pid() != killed, SECONDS, "it runs again")
    assert embedded.client.get("key") == b"value"
    embedded.stop()
    # A file whose end was lost with the machine is read up to there.
    embedded.file.write_bytes(embedded.file.read_bytes()[:-3])
    embedded.start()
    assert embedded.aside == []


def test_only_the_last_files_are_kept(tmp_path: Path) -> None:
    made = []
    for number in range(KEPT + 2):
        (tmp_path / "appendonly.aof").write_text(str(number))
        made.append(set_aside(tmp_path))
    assert sorted((tmp_path / ASIDE).iterdir()) == made[-KEPT:]
    assert (made[-1] / "appendonly.aof").read_text() == str(KEPT + 1)


class ComposeRedis:
    """Redis as its container starts it, restarted by the test in place of Docker.

    It listens on a socket: while it is stopped, another program may take a free port.
    """

    def __init__(self, folder: Path, socket: Path) -> None:
        self.folder = folder
        options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
        options += ["--appendonly", "yes", "--save", ""]
        script = PROJECT / "infra" / "compose" / "redis.sh"
        self._command = ["sh", str(script), str(folder), str(redis_binary()), *options]
        self.client = redis.Redis(unix_socket_path=str(socket))
        self.ends: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def is_alive(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            self.ends.append(self._process.wait())
            self.start()
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(20)


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[ComposeRedis]:
    # The path of a socket has at most 107 characters.
    with TemporaryDirectory(prefix="rayon-") as short:
        found = ComposeRedis(tmp_path, Path(short) / "redis")
        found.start()
        until(found.is_alive, SECONDS, "Redis answers")
        yield found
        found.stop()
        found.client.close()


def test_compose_starts_an_empty_redis_after_one_restart(
    composed: ComposeRedis, tmp_path: Path
) -> None:
    composed.client.set("key", "value")
    assert composed.stop() == 0
    file = next(one for one in tmp_path.rglob("appendonly*.aof") if one.stat().st_size)
    file.write_bytes(_flipped_command(file.read_bytes()))
    composed.start()
    until(composed.is_alive, SECONDS, "Redis answers")
    assert len(composed.ends) == 1
    assert composed.client.dbsize() == 0
    assert composed.client.set("new", "value")
    assert len(list((tmp_path / ASIDE).iterdir())) == 1


def test_compose_keeps_a_readable_file(composed: ComposeRedis, tmp_path: Path) -> None:
    composed.client.set("key", "value")
    killed = int(composed.client.info("server")["process_id"])
    os.kill(killed, 9)
    until(lambda: composed.is_alive() and composed.ends == [128 + 9], SECONDS, "it runs again")
    assert composed.client.get("key") == b"value"
    assert composed.stop() == 0
    assert not (tmp_path / ASIDE).exists()
    composed.start()
