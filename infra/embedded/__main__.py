"""Start the whole system, print how to use it, and stop it: `make run`."""

import signal
import sys
import time
from types import FrameType

from infra.embedded import preflight
from infra.embedded.instance import Instance
from infra.embedded.preflight import NotReady
from infra.embedded.programs import ports
from infra.embedded.settings import EmbeddedSettings, read_dotenv
from infra.embedded.terminal import say
from shared.files import is_disk_full
from shared.invalid_settings import run_program


def main() -> int:
    """Run until Ctrl-C and return the exit code."""
    # SIGINT too, because a shell makes background commands ignore Ctrl-C.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        read_dotenv()
        configured = EmbeddedSettings()
        settings = configured.model_copy(update={"home": configured.home.resolve()})
        with preflight.locked_home(settings.home):
            preflight.check(settings, ports(settings))
            return _run(Instance(settings))
    except NotReady as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"error: {preflight.not_permitted(error)}", file=sys.stderr)
        return 1
    except OSError as error:
        if not is_disk_full(error):
            raise
        print(f"error: the disk is full: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(instance: Instance) -> int:
    try:
        started = time.monotonic()
        instance.start()
        instance.wait_until_ready()
        say(instance.welcome(time.monotonic() - started))
        instance.watch()
    except KeyboardInterrupt:
        return 0
    finally:
        # A second Ctrl-C must not interrupt the shutdown.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("Stopping …")
        instance.stop()
        say("Stopped.")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run_program(main)
