"""Logs of a service."""

import json
import subprocess
import sys
from typing import Literal

import pytest

#: Raises an error in a frame with a secret in a local variable, and logs it.
PROGRAM = """
import structlog
from shared.logs import configure_logs
from shared.settings import LogSettings

configure_logs(LogSettings(format="{format}"), service="gateway")


def sign_in(password):
    raise ValueError("Expected another password")


try:
    sign_in("Correct" + "-horse")
except ValueError:
    structlog.get_logger("gateway").exception("sign_in_failed", username="ada")
"""


def logged(format_: Literal["json", "console"]) -> str:
    """Return what a process logs about an error."""
    program = [sys.executable, "-c", PROGRAM.format(format=format_)]
    return subprocess.run(program, check=True, capture_output=True, text=True).stderr


@pytest.mark.parametrize("format_", ["json", "console"])
def test_traceback_is_logged_without_local_variables(format_: Literal["json", "console"]) -> None:
    log = logged(format_)
    assert "sign_in_failed" in log
    assert "ValueError: Expected another password" in log
    assert "Correct-horse" not in log


def test_json_log_is_one_line_with_its_fields() -> None:
    (line,) = logged("json").splitlines()
    fields = json.loads(line)
    assert fields["event"] == "sign_in_failed"
    assert fields["username"] == "ada"
    assert fields["service"] == "gateway"
    assert fields["level"] == "error"
