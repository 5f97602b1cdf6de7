"""A command of the benchmarks ends with one line about bad input."""

import pytest

from shared.errors import InvalidInput
from tests.bench.commands import run_command


def failing() -> int:
    raise InvalidInput("Expected a folder. Received: a file")


@pytest.mark.parametrize("code", [0, 3])
def test_command_exits_with_its_code(code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: code)
    assert ended.value.code == code


def test_expected_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(failing)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: Expected a folder. Received: a file\n"


def test_fault_of_the_command_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)
