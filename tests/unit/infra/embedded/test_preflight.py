"""Every hindrance of a start becomes one clear line."""

import multiprocessing
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.preflight import NotReady, check, check_access, locked_home, not_permitted
from infra.embedded.settings import EmbeddedSettings

#: User without rights.
NOBODY = 65534


def settings(home: Path, **changes: object) -> EmbeddedSettings:
    return EmbeddedSettings.model_validate({"home": home, **changes})


def test_taken_port_is_named_with_the_variable_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(NotReady, match=rf"Port {port} .*RAYON_REDIS_PORT=PORT make run"):
            check(settings(tmp_path), [("RAYON_REDIS_PORT", port)])


def test_free_port_is_accepted(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    check(settings(tmp_path), [("RAYON_REDIS_PORT", port)])


def test_full_disk_is_refused_with_the_megabytes(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="MB free, 99999999999 MB are needed"):
        check(settings(tmp_path, min_free_megabytes=99_999_999_999), [])


def test_home_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(NotReady, match=r"Cannot write in .*RAYON_HOME"),
        locked_home(tmp_path / "file" / "var"),
    ):
        pass


def test_second_launcher_is_refused(tmp_path: Path) -> None:
    with locked_home(tmp_path), multiprocessing.get_context("spawn").Pool(1) as other:
        told = other.apply(_try_to_lock, (tmp_path,))
    assert "already runs" in told


def test_lock_ends_with_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with locked_home(tmp_path):
            assert (tmp_path / "launcher.pid").read_text().isdecimal()


def test_home_is_closed_to_others(tmp_path: Path) -> None:
    home = tmp_path / "var"
    home.mkdir()
    home.chmod(0o755)
    with locked_home(home):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_home_of_another_user_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "var"
    home.mkdir()
    os.chown(home, 65534, 65534)
    with (
        pytest.raises(NotReady, match=r"belong to the user .* Received: uid 65534"),
        locked_home(home),
    ):
        pass


def _try_to_lock(home: Path) -> str:
    try:
        with locked_home(home):
            return "locked"
    except NotReady as error:
        return str(error)


@pytest.fixture
def stranger() -> Iterator[Path]:
    """Become another user than root, and return a folder of that user."""
    if os.geteuid() != 0:
        pytest.skip("only root can leave files of root behind")
    # pytest closes its own folders to others.
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        home = Path(above) / "var"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield home
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["secrets", "logs", "storage", "redis", "releases"])
def test_folder_of_root_is_named_with_the_command_that_mends_it(stranger: Path, name: str) -> None:
    make_as_root(stranger / name)
    with pytest.raises(NotReady) as caught:
        check_access(stranger)
    assert str(caught.value) == (
        f"Expected {stranger / name} to be readable and writable for uid {NOBODY}, who starts "
        f"Rayon. Received: owner uid 0, mode 0700. Mend it with: sudo chown -R {NOBODY} {stranger}"
    )


def test_file_of_root_in_a_folder_is_named(stranger: Path) -> None:
    (stranger / "secrets").mkdir()
    os.seteuid(0)
    (stranger / "secrets" / "redis_password").touch(0o600)
    os.seteuid(NOBODY)
    with pytest.raises(NotReady, match=r"Expected .*redis_password to be readable"):
        check_access(stranger)


def test_own_folder_that_is_write_protected_is_mended_without_root(stranger: Path) -> None:
    (stranger / "logs").mkdir(mode=0o500)
    with pytest.raises(NotReady, match=rf"mode 0500. Mend it with: chmod -R u\+rwX {stranger}"):
        check_access(stranger)


def test_own_folders_are_accepted(stranger: Path) -> None:
    for name in ("secrets", "logs"):
        (stranger / name).mkdir()
        (stranger / name / "file").touch(0o600)
    (stranger / "link").symlink_to("/nowhere")
    check_access(stranger)


def test_error_of_permission_names_the_file_and_the_command(stranger: Path) -> None:
    make_as_root(stranger / "secrets")
    with pytest.raises(PermissionError) as caught:
        (stranger / "secrets" / "key").read_text()
    assert not_permitted(caught.value).startswith(f"Expected {stranger / 'secrets' / 'key'} to be")
    assert "sudo chown -R" in not_permitted(caught.value)


def make_as_root(folder: Path) -> None:
    os.seteuid(0)
    folder.mkdir(mode=0o700)
    os.seteuid(NOBODY)
