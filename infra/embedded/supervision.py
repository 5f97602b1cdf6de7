"""Supervision of the programs by supervisord, which restarts those that die."""

import hashlib
import http.client
import os
import secrets
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client  # nosec B411  # supervisord answers, over a socket of ours
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from infra.embedded.credentials import write_private
from infra.embedded.preflight import NotReady
from infra.embedded.programs import Program, Stage
from infra.embedded.settings import PROJECT
from infra.embedded.strays import SUPERVISOR
from infra.embedded.terminal import say

USERNAME = "rayon"
#: A Unix socket's path has at most 107 bytes.
LONGEST_SOCKET_PATH = 100
#: supervisord listens within a second, on a busy machine within many.
LISTEN_SECONDS = 180.0
#: Lines of what supervisord prints that are shown as the reason of its exit.
SHOWN_LINES = 3


class Supervisor:
    """supervisord as a child of this process."""

    def __init__(self, home: Path, programs: list[Program]) -> None:
        self._home = home
        self._programs = programs
        self._socket = _socket_path(home)
        self._password = secrets.token_urlsafe(24)
        self._configuration = home / "supervisord.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: deque[str] = deque()
        self._reader: threading.Thread | None = None
        (home / "logs").mkdir(parents=True, exist_ok=True)
        write_private(
            self._configuration, _configuration(home, self._socket, self._password, programs)
        )

    def start(self, environment: dict[str, str]) -> None:
        """Start supervisord and, with it, the servers."""
        arguments = ["--nodaemon", "--silent", "--configuration", str(self._configuration)]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", SUPERVISOR, str(os.getpid()), *arguments],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            # A pipe and not a file, since writing to a file on a full disk would end supervisord.
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the launcher alone, which then stops the others in order.
            start_new_session=True,
        )
        self._printed = deque(maxlen=SHOWN_LINES)
        self._reader = threading.Thread(
            target=_read, args=(self._process.stdout, self._printed), daemon=True
        )
        self._reader.start()

    def start_stage(self, stage: Stage) -> None:
        """Start the programs of a later stage. Raises `NotReady` if supervisord has exited."""
        deadline = time.monotonic() + LISTEN_SECONDS
        while not self.states() and self.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            for program in (program for program in self._programs if program.stage == stage):
                self._calls().supervisor.startProcess(_full_name(program), False)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise NotReady(f"supervisord exited: {self.last_words() or error}") from error

    def states(self) -> dict[str, str]:
        """State of each program by name, such as `RUNNING` or `FATAL`; empty if not reachable."""
        try:
            listed = self._calls().supervisor.getAllProcessInfo()
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return {}
        return {str(row["name"]): str(row["statename"]) for row in listed}  # type: ignore[index,call-overload,union-attr]

    def start_fatal(self) -> list[str]:
        """Start the programs that supervisord has given up, and return their names."""
        states = self.states()
        fatal = [program for program in self._programs if states.get(program.name) == "FATAL"]
        for program in fatal:
            # One that cannot be started now is still fatal at the next call.
            with suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
                self._calls().supervisor.startProcess(_full_name(program), False)
        return [program.name for program in fatal]

    def is_running(self) -> bool:
        """Return True while supervisord runs."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """Return why supervisord has exited: its exit code and the last that it printed."""
        if self._process is None or self._process.poll() is None:
            return ""
        if self._reader is not None:
            self._reader.join(1.0)
        printed = " ".join(line.strip() for line in self._printed)
        return f"exit code {self._process.returncode}" + (f", {printed}" if printed else "")

    def stop(self, timeout_seconds: float = 60.0) -> None:
        """Stop all programs, then supervisord."""
        if self._process is None:
            return
        if self.is_running():
            self._process.terminate()
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not None:
            self._reader.join(1.0)
        self._socket.unlink(missing_ok=True)

    def _calls(self) -> xmlrpc.client.ServerProxy:
        transport = SupervisorTransport(USERNAME, self._password, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)


def _read(output: IO[bytes], printed: deque[str]) -> None:
    """Print and keep what supervisord prints, which is seldom more than its end."""
    with output:
        for line in output:
            printed.append(line.decode(errors="replace"))
            say(f"[supervisord] {printed[-1].rstrip()}")


def _socket_path(home: Path) -> Path:
    path = home / "supervisor.sock"
    if len(str(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"rayon-{name}.sock"


def _full_name(program: Program) -> str:
    return f"{'servers' if program.stage == 'servers' else 'rayon'}:{program.name}"


def _configuration(home: Path, socket: Path, password: str, programs: list[Program]) -> str:
    servers = [program for program in programs if program.stage == "servers"]
    services = [program for program in programs if program.stage != "servers"]
    sections: list[tuple[str, dict[str, object]]] = [
        (
            "unix_http_server",
            {"file": socket, "chmod": "0700", "username": USERNAME, "password": password},
        ),
        (
            "supervisord",
            {
                "logfile": home / "logs/supervisord.log",
                "pidfile": home / "supervisord.pid",
                "loglevel": "info",
                "minfds": 1024,
                **_user(),
            },
        ),
        (
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
        # Groups stop in reverse order, so that no service loses its Redis too early.
        ("group:servers", {"programs": ",".join(p.name for p in servers), "priority": 10}),
        ("group:rayon", {"programs": ",".join(p.name for p in services), "priority": 20}),
        *((f"program:{program.name}", _program(home, program)) for program in programs),
    ]
    return "\n".join(_section(name, values) for name, values in sections)


def _user() -> dict[str, object]:
    # Without this setting supervisord warns root, who may run it on purpose.
    return {"user": "root"} if os.geteuid() == 0 else {}


def _program(home: Path, program: Program) -> dict[str, object]:
    pairs = (f"{name}={_quoted(value)}" for name, value in program.environment.items())
    return {
        "command": shlex.join(program.command),
        "directory": PROJECT,
        "environment": ",".join(pairs),
        "autostart": program.stage == "servers",
        "autorestart": True,
        "startsecs": 2,
        # Between tries supervisord waits a second longer each time.
        "startretries": 30,
        "stopwaitsecs": 20,
        "stopasgroup": False,
        "killasgroup": True,
        "redirect_stderr": True,
        "stdout_logfile": home / "logs" / f"{program.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 3,
    }


def _quoted(value: str) -> str:
    # supervisord reads values with a lexer that knows quotes but no escapes.
    return f"'{value}'" if '"' in value else f'"{value}"'


def _section(name: str, values: dict[str, object]) -> str:
    # supervisord expands `%(…)s` in values.
    lines = (
        f"{key}={str(value).replace('%', '%%')}" for key, value in values.items() if value != ""
    )
    return "\n".join([f"[{name}]", *lines, ""])
