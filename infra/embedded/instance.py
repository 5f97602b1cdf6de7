"""Running instance, started in dependency order and stopped completely."""

import json
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from infra.embedded import variables
from infra.embedded.credentials import kept_digest, kept_secret
from infra.embedded.disk import DiskWatch
from infra.embedded.keeper import Keeper
from infra.embedded.log_tail import LogTail
from infra.embedded.preflight import FOLDERS, NotReady
from infra.embedded.programs import confined, programs
from infra.embedded.progress import Progress, Usage
from infra.embedded.redis_server import redis_binary, write_configuration
from infra.embedded.redis_start import notes
from infra.embedded.settings import PROJECT, EmbeddedSettings, environment
from infra.embedded.strays import end_strays, instance_processes
from infra.embedded.supervision import Supervisor
from infra.embedded.terminal import say
from infra.embedded.welcome import welcome

#: Interval between two readiness checks.
POLL_SECONDS = 0.2
#: Interval between two measurements of the disk.
DISK_SECONDS = 2.0
#: Secret of the model registry, for its server and its clients.
REGISTRY_TOKEN = "registry_token"  # noqa: S105  # nosec B105  # the name of its file
#: Stored beside the registry, so that a deleted registry gets the starter release again.
STARTER_IMPORTED = ".starter_imported"


class Instance:
    """Processes of one home folder."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._home = settings.home
        secrets_folder = self._home / "secrets"
        redis_password = kept_secret(secrets_folder, "redis_password")
        self._environment = environment(
            settings,
            kept_secret(secrets_folder, "gateway_secret_key"),
            redis_password,
            kept_secret(secrets_folder, REGISTRY_TOKEN),
        )
        for folder in FOLDERS:
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        redis_conf = write_configuration(self._home / "redis", settings.redis_port, redis_password)
        listed = programs(settings, redis_binary(), redis_conf, secrets_folder / REGISTRY_TOKEN)
        self._supervisor = Supervisor(
            self._home, [confined(program, self._environment) for program in listed]
        )
        self._tail: LogTail | None = None
        self._redis_log = self._home / "logs" / "redis.log"
        self._redis_log_start = self._redis_log.stat().st_size if self._redis_log.exists() else 0
        url = self._environment["RAYON_DATABASE_URL"]
        self._is_new_database = (
            url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).exists()
        )
        self._starter: subprocess.Popen[bytes] | None = None
        self._admin = (self._environment.get("RAYON_ADMIN_USERNAME", "admin"), "")

    def start(self) -> None:
        """Start the services that answers depend on, in order. Raises `NotReady`."""
        say("Starting …")
        self._supervisor.start(self._environment)
        self._once(
            "shared.db.migrations", "The database could not be migrated", variables.SCHEDULER
        )
        self._supervisor.start_stage("core")
        self._import_starter()
        self._bootstrap_admin()

    def wait_until_ready(self) -> None:
        """Wait until jobs can be answered, then start the rest.

        Raises:
            NotReady: A program ends again and again, or nothing moves for `start_seconds`.
        """
        progress = Progress(self._settings.start_seconds, self._usage)
        while awaited := unready(self._settings.address):
            self._raise_if_failed()
            try:
                progress.look(awaited, self._supervisor.states())
            except NotReady as error:
                raise NotReady(f"{error} Logs: {self._home / 'logs'}") from error
            time.sleep(POLL_SECONDS)
        if self._starter is not None:
            (self._home / "mlflow" / STARTER_IMPORTED).touch()
        self._supervisor.start_stage("rest")

    def watch(self) -> None:
        """Keep all programs running and print warnings, until interrupted."""
        # Not earlier: during the start the services warn that others are missing.
        self._tail = LogTail(self._home / "logs")
        self._tail.start()
        for note in notes(self._redis_log, self._redis_log_start):
            say(f"[redis] {note}")
        keeper, disk = Keeper(self._supervisor, self._start_again), DiskWatch(self._home)
        measured = 0.0
        while True:
            if time.monotonic() - measured > DISK_SECONDS:
                measured = time.monotonic()
                disk.look()
            keeper.look()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop all processes and kill those that do not stop."""
        if self._starter is not None and self._starter.poll() is None:
            self._starter.terminate()
        if self._tail is not None:
            self._tail.stop()
        self._supervisor.stop()
        end_strays(self._home)

    def welcome(self, seconds: float) -> str:
        """Return the text that explains how to use the system."""
        return welcome(self._settings, *self._admin, seconds)

    def _start_again(self) -> None:
        """Start everything after supervisord has exited. Raises `NotReady`, `OSError`."""
        # Programs whose supervisord was killed still hold their ports.
        end_strays(self._home)
        self._supervisor.start(self._environment)
        try:
            for stage in ("core", "rest"):
                self._supervisor.start_stage(stage)
        except NotReady:
            # It is started again as a whole, because no one else would start the other programs.
            self._supervisor.stop()
            raise

    def _usage(self) -> dict[str, Usage]:
        usage = {}
        for name, process in instance_processes(self._home).items():
            with suppress(psutil.Error):
                times = process.cpu_times()
                usage[name] = Usage(process.pid, times.user + times.system)
        return usage

    def _import_starter(self) -> None:
        """Import the bundled release into a new registry; the import waits for MLflow."""
        if (self._home / "mlflow" / STARTER_IMPORTED).exists():
            return
        with (self._home / "logs" / "starter.log").open("ab") as out:
            self._starter = subprocess.Popen(
                [sys.executable, "-m", "trainer.starter"],
                cwd=PROJECT,
                env=variables.own(self._environment, variables.TRAINING),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def _bootstrap_admin(self) -> None:
        """Create the first account once, with the configured or a generated password."""
        username = self._admin[0]
        account = f"{username} in {self._environment['RAYON_DATABASE_URL']}"
        mark = kept_digest(self._home / "secrets", "first_account", account)
        if mark.is_kept and not self._is_new_database:
            return
        configured = self._environment.get("RAYON_ADMIN_PASSWORD")
        password = configured or secrets.token_urlsafe(12)
        output = self._once(
            "gateway.bootstrap",
            "The first account could not be created",
            variables.ACCOUNT,
            {"RAYON_ADMIN_USERNAME": username, "RAYON_ADMIN_PASSWORD": password},
        )
        if "created" in output and not configured:
            self._admin = (username, password)
        mark.keep()

    def _once(
        self,
        module: str,
        complaint: str,
        inherits: Sequence[str],
        extra: dict[str, str] | None = None,
    ) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", module],
            cwd=PROJECT,
            env=variables.own(self._environment, inherits) | (extra or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise NotReady(f"{complaint}: {(ended.stderr or ended.stdout).strip()[-600:]}")
        return ended.stdout

    def _raise_if_failed(self) -> None:
        if not self._supervisor.is_running():
            raise NotReady(f"supervisord exited: {self._supervisor.last_words()}")
        fatal = [name for name, state in self._supervisor.states().items() if state == "FATAL"]
        if fatal:
            log = self._home / "logs" / f"{fatal[0]}.log"
            raise NotReady(f"{fatal[0]} does not start. The end of {log}:\n{_end_of(log)}")
        if self._starter is not None and self._starter.poll():
            log = self._home / "logs" / "starter.log"
            raise NotReady(f"The starter release was not imported:\n{_end_of(log)}")


def unready(address: str) -> str:
    """Return what is missing until jobs are accepted and every interactive queue has a worker.

    The text is empty if nothing is missing.
    """
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:  # noqa: S310  # nosec B310  # our own address
            checks = json.load(answer)["checks"]
        return "" if checks.get("workers") == "ok" else _missing(checks)
    except urllib.error.HTTPError as error:
        with suppress(OSError, ValueError, LookupError):
            return _missing(json.load(error)["checks"])
        return f"the gateway: status {error.code}"
    except (OSError, ValueError, LookupError):
        return "the gateway"


def _missing(checks: dict[str, str]) -> str:
    return "; ".join(f"{name}: {check}" for name, check in checks.items() if check != "ok")


def _end_of(path: Path, characters: int = 1500) -> str:
    return path.read_text(errors="replace")[-characters:].strip() if path.exists() else "(empty)"
