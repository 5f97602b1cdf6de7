"""Local copies of releases are checked, set aside and fetched again."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from shared.errors import NotFound, ReleaseUnloadable, Unavailable
from shared.inference.manifest import MANIFEST
from shared.inference.releases.checksums import CHECKSUMS, Checksums
from shared.inference.releases.copies import KEPT_BROKEN, Copies
from tests.support.servers import until
from tests.support.tiny_release import write_tiny_release

MODEL = "text/model.onnx"


class Scene:
    """Copies of a registry that is a folder with release 1, whose downloads are counted."""

    def __init__(self, root: Path, *, is_recorded: bool = True) -> None:
        self.cache = root / "cache"
        self.registered = write_tiny_release(root / "registry" / "1")
        self.downloads = 0
        self.is_down = False
        if is_recorded:
            (self.registered / CHECKSUMS).write_text(Checksums.of(self.registered).content)
        self.copies = Copies(self.cache, self.fetch)

    def fetch(self, version: str, aside: Path) -> Path:
        self.downloads += 1
        if self.is_down:
            raise Unavailable("The model registry does not answer: it is down in this test")
        if not (source := self.registered.parent / version).exists():
            raise NotFound(f"No release {version!r}")
        return Path(shutil.copytree(source, aside / "release"))

    def is_good(self) -> bool:
        """Return True if the copy has the content that was registered at first."""
        recorded = Checksums.read(self.cache / "1")
        return recorded is not None and recorded.fault(self.cache / "1") is None

    def broken(self) -> list[Path]:
        return sorted(self.cache.glob(".broken-*"))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def flip(path: Path) -> None:
    """Change one bit of a file, but not its size or time."""
    content, times = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def half_write(path: Path) -> None:
    """Leave a folder as a killed writer does, which had not come to the later files."""
    shutil.rmtree(path.parents[1] / "image")
    path.write_bytes(b"")


def break_checksums(path: Path) -> None:
    (path.parents[1] / CHECKSUMS).write_text('{"files": {"text')


DAMAGES = [flip, cut, Path.unlink, half_write, break_checksums]


@pytest.mark.parametrize("damage", DAMAGES)
def test_broken_copy_is_set_aside_and_fetched_once(
    scene: Scene, damage: Callable[[Path], None]
) -> None:
    damage(scene.copies.folder("1") / MODEL)
    # As after a restart, and in the same process
    for copies in (Copies(scene.cache, scene.fetch), scene.copies):
        copies.folder("1")
        assert scene.is_good()
        assert scene.downloads == 2
    assert len(scene.broken()) == 1


def test_good_copy_is_used_without_the_registry(scene: Scene) -> None:
    scene.copies.folder("1")
    scene.is_down = True
    assert Copies(scene.cache, scene.fetch).folder("1") == scene.cache / "1"
    assert scene.downloads == 1


def test_single_file_is_checked_alone(scene: Scene) -> None:
    flip(scene.copies.folder("1") / MODEL)
    assert scene.copies.folder("1", MANIFEST) == scene.cache / "1"
    flip(scene.cache / "1" / MANIFEST)
    scene.copies.folder("1", MANIFEST)
    assert scene.is_good()


def test_copy_broken_in_the_registry_too_is_reported_and_not_fetched_in_a_loop(
    scene: Scene,
) -> None:
    scene.copies.folder("1")
    flip(scene.cache / "1" / MODEL)
    flip(scene.registered / MODEL)
    for _ in range(20):
        with pytest.raises(ReleaseUnloadable, match=f"registry's copy .*{MODEL}.*SHA-256"):
            scene.copies.folder("1")
    assert scene.downloads == 2


def test_broken_copy_is_mended_once_the_registry_is_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(scene.copies.folder("1") / MODEL)
    scene.is_down = True
    with pytest.raises(
        ReleaseUnloadable, match=r"broken .* cannot be replaced: The model registry"
    ):
        scene.copies.folder("1")
    scene.is_down = False
    soon = time.monotonic() + 1.01
    monkeypatch.setattr("shared.inference.releases.rests.time.monotonic", lambda: soon)
    scene.copies.folder("1")
    assert scene.is_good()


def test_release_that_is_gone_from_the_registry_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound):
        scene.copies.folder("2")
    assert not (scene.cache / "2").exists()


def test_full_disk_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(version: str, aside: Path) -> Path:
        raise OSError(28, "No space left on device")

    with pytest.raises(ReleaseUnloadable, match=r"cannot be written to .*No space left"):
        Copies(scene.cache, fetch).folder("1")


def test_few_broken_copies_are_kept(scene: Scene) -> None:
    for _ in range(KEPT_BROKEN + 2):
        cut(scene.copies.folder("1") / MODEL)
    scene.copies.folder("1")
    assert len(scene.broken()) == KEPT_BROKEN


def test_release_without_checksums_gets_them_at_the_first_download(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_recorded=False)
    flip(scene.copies.folder("1") / MODEL)
    scene.copies.folder("1")
    assert (scene.cache / "1" / MODEL).read_bytes() == (scene.registered / MODEL).read_bytes()
    assert scene.downloads == 2


def test_copy_of_an_earlier_version_is_compared_with_the_registry(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_recorded=False)
    shutil.copytree(scene.registered, scene.cache / "1")
    scene.copies.folder("1")
    assert scene.is_good()
    assert scene.broken() == []


def test_broken_copy_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_recorded=False)
    flip(Path(shutil.copytree(scene.registered, scene.cache / "1")) / MODEL)
    scene.copies.folder("1")
    assert (scene.cache / "1" / MODEL).read_bytes() == (scene.registered / MODEL).read_bytes()
    assert len(scene.broken()) == 1


def test_copy_of_an_earlier_version_serves_while_the_registry_is_away(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_recorded=False)
    shutil.copytree(scene.registered, scene.cache / "1")
    scene.is_down = True
    assert scene.copies.folder("1") == scene.cache / "1"
    # And is compared after the next start
    scene.is_down = False
    Copies(scene.cache, scene.fetch).folder("1")
    assert scene.is_good()


def test_threads_that_ask_at_once_share_one_download(scene: Scene) -> None:
    scene.copies.folder("1")
    flip(scene.cache / "1" / MODEL)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(scene.copies.folder, ["1"] * 8)) == {scene.cache / "1"}
    assert scene.is_good()
    assert scene.downloads == 2


def test_broken_copies_are_counted(scene: Scene) -> None:
    def counted(place: str) -> float:
        name = "rayon_release_copies_broken_total"
        return REGISTRY.get_sample_value(name, {"place": place}) or 0.0

    before = counted("local"), counted("registry")
    scene.copies.folder("1")
    cut(scene.cache / "1" / MODEL)
    cut(scene.registered / MODEL)
    with pytest.raises(ReleaseUnloadable):
        scene.copies.folder("1")
    assert (counted("local"), counted("registry")) == (before[0] + 1, before[1] + 1)


def _fetch_slowly(root: str, started: str, seconds: float) -> None:
    """Load release 1 in a process of its own, with a download that takes a while."""

    def fetch(version: str, aside: Path) -> Path:
        with Path(started).open("a") as file:
            file.write("x")
        (aside / "partly").mkdir()
        time.sleep(seconds)
        return Path(shutil.copytree(Path(root) / "registry" / version, aside / "release"))

    Copies(Path(root) / "cache", fetch).folder("1")


def test_two_processes_share_one_download(scene: Scene, tmp_path: Path) -> None:
    flip(scene.copies.folder("1") / MODEL)
    started = tmp_path / "started"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_fetch_slowly, args=(str(tmp_path), str(started), 0.3))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert started.read_text() == "x"
    assert scene.is_good()
    assert len(scene.broken()) == 1


def test_killed_download_leaves_neither_lock_nor_folder(scene: Scene, tmp_path: Path) -> None:
    started = tmp_path / "started"
    process = multiprocessing.get_context("fork").Process(
        target=_fetch_slowly, args=(str(tmp_path), str(started), 60)
    )
    process.start()
    until(started.exists, 10, "the download begins")
    until(lambda: any(scene.cache.glob(".1-*/partly")), 10, "a part is written")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    scene.copies.folder("1")
    assert scene.is_good()
    assert list(scene.cache.glob(".1-*")) == []


def test_wait_for_another_process_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.inference.releases.copies.LOCK_SECONDS", 0.05)
    held, may_end = threading.Event(), threading.Event()

    def fetch(version: str, aside: Path) -> Path:
        held.set()
        may_end.wait(10)
        return scene.fetch(version, aside)

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(Copies(scene.cache, fetch).folder, "1")
        assert held.wait(10)
        with pytest.raises(Unavailable, match="Another process has been fetching release 1"):
            scene.copies.folder("1")
        may_end.set()
        assert slow.result(10) == scene.cache / "1"


def test_checksums_name_size_and_hash_of_every_file(scene: Scene) -> None:
    found = json.loads((scene.registered / CHECKSUMS).read_text())["files"]
    paths = (path for path in scene.registered.rglob("*") if path.is_file())
    names = {path.relative_to(scene.registered).as_posix() for path in paths}
    assert set(found) == names - {CHECKSUMS}
    assert found[MODEL]["bytes"] == (scene.registered / MODEL).stat().st_size
