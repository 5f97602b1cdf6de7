"""The command line in processes: concurrent, interrupted, measured and at a terminal."""

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
#: Program that runs the command line and finally prints its peak memory.
MEASURED = """
import atexit, pathlib, re, sys
from rayon.cli.main import main
def print_peak_memory():
    print(re.search(r"VmHWM:.*", pathlib.Path("/proc/self/status").read_text())[0], file=sys.stderr)
atexit.register(print_peak_memory)
main()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a home for this test and the client of this checkout."""
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
    """Sign in and return the saved sign-ins."""
    saved = SavedSignIns(Path(environment["XDG_CONFIG_HOME"]) / "rayon" / "sign-ins.json")
    sign_in(service.url, USERNAME, PASSWORD, saved)
    return saved


def start(
    environment: dict[str, str], *arguments: str, program: tuple[str, ...] = ("-m", "rayon")
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # If a shell runs the tests in the background, they ignore Ctrl-C, and so would this child.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_concurrent_processes_renew_an_expired_token_once_and_stay_signed_in(
    service: FakeService, saved: SavedSignIns, environment: dict[str, str]
) -> None:
    for number in (1, 2):
        service.expire()
        processes = [start(environment, "whoami") for _ in range(4)]
        results = [
            (process.communicate(timeout=SECONDS), process.returncode) for process in processes
        ]
        assert [code for _, code in results] == [0] * 4, results
        assert len(service.asked("POST", "/v1/token/refresh")) == number


@pytest.mark.usefixtures("saved")
def test_interrupted_catalog_command_prints_how_to_resume_and_resumes(
    service: FakeService, environment: dict[str, str], tmp_path: Path
) -> None:
    products, out = tmp_path / "products.csv", tmp_path / "results.csv"
    products.write_text("designation\nPiscine\n")
    service.polls = 1_000_000
    waiting = start(environment, "catalog", str(products), "--out", str(out))
    until(
        lambda: any(catalog["polls"] for catalog in service.catalogs.values()),
        SECONDS,
        "the command waits",
    )
    waiting.send_signal(signal.SIGINT)
    output, errors = waiting.communicate(timeout=SECONDS)
    assert (waiting.returncode, output, out.exists()) == (130, "", False), errors
    command = re.search(r"rayon (catalog --resume .*)", errors)
    assert command, errors
    assert "Traceback" not in errors
    service.polls = 1
    resumed = start(environment, *shlex.split(command[1]))
    assert (resumed.communicate(timeout=SECONDS), resumed.returncode)[1] == 0
    assert out.read_text() == service.results
    assert len(service.asked("POST", "/v1/catalogs")) == 1


@pytest.mark.usefixtures("saved")
def test_peak_memory_does_not_grow_with_the_upload(
    service: FakeService, environment: dict[str, str], tmp_path: Path
) -> None:
    products, images = tmp_path / "products.csv", tmp_path / "images.zip"
    products.write_text("designation\nPiscine\n")

    def kilobytes(megabytes: int) -> int:
        with images.open("wb") as file:
            file.truncate(megabytes << 20)
        arguments = ("catalog", str(products), "--images", str(images), "--no-wait")
        process = start(environment, *arguments, program=("-c", MEASURED))
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, errors
        measured = re.search(r"VmHWM:\s+(\d+) kB", errors)
        assert measured, errors
        return int(measured[1])

    assert kilobytes(256) - kilobytes(1) < 16 * 1024
    assert len(service.bodies) == 4


def test_password_prompt_at_a_terminal_does_not_show_the_password(
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
    timeout = threading.Timer(SECONDS, process.kill)
    timeout.start()
    shown = _answer_prompts(keyboard, {"Username": USERNAME, "Password": PASSWORD})
    assert process.wait(SECONDS) == 0, shown
    timeout.cancel()
    assert "Signed in" in shown
    assert PASSWORD not in shown


def _answer_prompts(keyboard: int, answers: dict[str, str]) -> str:
    """Answer the prompts and return the complete output of the terminal."""
    shown = ""
    remaining = dict(answers)
    while True:
        try:
            piece = os.read(keyboard, 1024)
        except OSError:  # The process has closed its side.
            break
        if not piece:
            break
        shown += piece.decode()
        # The space after the colon is printed last, when the terminal no longer echoes input.
        for question in [name for name in remaining if shown.endswith(f"{name}: ")]:
            os.write(keyboard, remaining.pop(question).encode() + b"\n")
    os.close(keyboard)
    return shown


# Start-up: a command loads only what it needs, because loading is most of its time.

#: Program that runs the command line and finally prints the modules that it loaded.
LISTED = """
import atexit, sys
from rayon.cli.main import main
atexit.register(lambda: print("modules:", *sorted(m for m in sys.modules if sys.modules[m])))
main()
"""
CORE = {"", "cli", "cli.exits", "cli.interrupts", "cli.main", "cli.screen", "errors"}
CLASSIFY = {
    *CORE,
    *("answers", "cli.options", "cli.products", "client", "connection", "files", "headers"),
    *("problems", "sign_in"),
}
SLOW = {"click", "filelock", "httpx", "pydantic", "pygments", "rich", "tenacity"}


def modules_of(command: str, environment: dict[str, str]) -> set[str]:
    words = [sys.executable, "-c", LISTED, *shlex.split(command)]
    ended = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return set(ended.stdout.split("modules:")[1].split())


def own(modules: set[str]) -> set[str]:
    return {name[len("rayon.") :] for name in modules if name.split(".")[0] == "rayon"}


def test_version_loads_no_client(environment: dict[str, str]) -> None:
    modules = modules_of("--version", environment)
    assert own(modules) == CORE
    assert modules & SLOW == set()


@pytest.mark.usefixtures("saved")
def test_classify_loads_only_the_modules_of_single_jobs(
    service: FakeService, environment: dict[str, str]
) -> None:
    modules = modules_of(f"classify --url {service.url} Piscine", environment)
    assert own(modules) == CLASSIFY
    # Tables, colours and the command line of httpx are for other commands.
    assert modules & {"click", "pygments", "rich", "httpx._main"} == set()
