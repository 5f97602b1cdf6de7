"""The command line as processes: several at once, interrupted, measured, at a terminal."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from infra.embedded.settings import PROJECT
from rayon.sessions import sign_in
from rayon.sign_in import SavedSignIns
from tests.support.servers import until
from tests.unit.client.service import PASSWORD, USERNAME, FakeService, Running

SECONDS = 60
#: Runs the command line, and says last how much memory it took.
MEASURED = """
import atexit, pathlib, re, sys
from rayon.cli.main import main
def tell():
    print(re.search(r"VmHWM:.*", pathlib.Path("/proc/self/status").read_text())[0], file=sys.stderr)
atexit.register(tell)
main()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of this test's own, and this checkout's client."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAYON_")}
    return kept | {
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PYTHONPATH": str(PROJECT / "shared" / "client"),
    }


@pytest.fixture
def service() -> Iterator[FakeService]:
    with Running() as service:
        yield service


@pytest.fixture
def saved(service: FakeService, environment: dict[str, str]) -> SavedSignIns:
    """Somebody is signed in."""
    saved = SavedSignIns(Path(environment["XDG_CONFIG_HOME"]) / "rayon" / "sign-ins.json")
    sign_in(service.url, USERNAME, PASSWORD, saved)
    return saved


def started(
    environment: dict[str, str], *arguments: str, program: tuple[str, ...] = ("-m", "rayon")
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell ignore Ctrl-C, and their children would too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_processes_that_renew_at_once_stay_signed_in(
    service: FakeService, saved: SavedSignIns, environment: dict[str, str]
) -> None:
    for number in (1, 2):
        service.expire()
        processes = [started(environment, "whoami") for _ in range(4)]
        ended = [
            (process.communicate(timeout=SECONDS), process.returncode) for process in processes
        ]
        assert [code for _, code in ended] == [0] * 4, ended
        assert len(service.asked("POST", "/v1/token/refresh")) == number


@pytest.mark.usefixtures("saved")
def test_catalog_goes_on_after_an_interrupt_and_is_waited_for_again(
    service: FakeService, environment: dict[str, str], tmp_path: Path
) -> None:
    products, out = tmp_path / "products.csv", tmp_path / "results.csv"
    products.write_text("designation\nPiscine\n")
    service.polls = 1_000_000
    waiting = started(environment, "catalog", str(products), "--out", str(out))
    until(lambda: any(one["polls"] for one in service.catalogs.values()), SECONDS, "it waits")
    waiting.send_signal(signal.SIGINT)
    said, complained = waiting.communicate(timeout=SECONDS)
    assert (waiting.returncode, said, out.exists()) == (130, "", False), complained
    command = re.search(r"rayon (catalog --resume .*)", complained)
    assert command, complained
    assert "Traceback" not in complained
    service.polls = 1
    resumed = started(environment, *shlex.split(command[1]))
    assert (resumed.communicate(timeout=SECONDS), resumed.returncode)[1] == 0
    assert out.read_text() == service.results
    assert len(service.asked("POST", "/v1/catalogs")) == 1


@pytest.mark.usefixtures("saved")
def test_large_upload_takes_no_memory(
    service: FakeService, environment: dict[str, str], tmp_path: Path
) -> None:
    products, images = tmp_path / "products.csv", tmp_path / "images.zip"
    products.write_text("designation\nPiscine\n")

    def kilobytes(megabytes: int) -> int:
        with images.open("wb") as file:
            file.truncate(megabytes << 20)
        arguments = ("catalog", str(products), "--images", str(images), "--no-wait")
        process = started(environment, *arguments, program=("-c", MEASURED))
        _, complained = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, complained
        measured = re.search(r"VmHWM:\s+(\d+) kB", complained)
        assert measured, complained
        return int(measured[1])

    assert kilobytes(256) - kilobytes(1) < 16 * 1024
    assert len(service.bodies) == 4


def test_password_is_asked_at_a_terminal_without_showing_it(
    service: FakeService, environment: dict[str, str]
) -> None:
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "rayon", "login", "--url", service.url]
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    stuck = threading.Timer(SECONDS, process.kill)
    stuck.start()
    shown = _typed(keyboard, {"Username": USERNAME, "Password": PASSWORD})
    assert process.wait(SECONDS) == 0, shown
    stuck.cancel()
    assert "Signed in" in shown
    assert PASSWORD not in shown


def _typed(keyboard: int, answers: dict[str, str]) -> str:
    """Answer what is asked; returns all that the terminal showed."""
    shown = ""
    left = dict(answers)
    while True:
        try:
            piece = os.read(keyboard, 1024)
        except OSError:  # The other side has closed it.
            break
        if not piece:
            break
        shown += piece.decode()
        # The blank comes last, when the terminal no longer shows what is typed.
        for question in [one for one in left if shown.endswith(f"{one}: ")]:
            os.write(keyboard, left.pop(question).encode() + b"\n")
    os.close(keyboard)
    return shown
