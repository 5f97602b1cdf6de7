"""The terminal shows what a person must see, and nothing else."""

import json
from pathlib import Path

import pytest

from infra.embedded.log_tail import LogTail, worrying
from tests.support.servers import until


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"level": "info", "event": "batch_scored"}),
        "INFO:     Application startup complete.",
        "1:M 23 Nov # WARNING Memory overcommit must be enabled!",
        "[1, 2]",
        "",
    ],
)
def test_harmless_lines_are_not_shown(line: str) -> None:
    assert worrying(line) is None


def test_warning_is_shown_with_its_fields() -> None:
    line = json.dumps({"level": "warning", "event": "jobs_swept", "sent_again": 3, "logger": "x"})
    assert worrying(line) == "warning: jobs_swept sent_again=3"


def test_error_of_another_program_is_shown_unchanged() -> None:
    assert worrying("2026 ERROR mlflow: no space left\n") == "2026 ERROR mlflow: no space left"


def test_tail_shows_new_lines_with_the_name_also_after_rotation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "gateway.log"
    log.write_text("ERROR of yesterday\n")
    tail = LogTail(tmp_path)
    tail.start()
    shown: list[str] = []

    def is_shown(text: str) -> bool:
        shown.append(capsys.readouterr().out)
        return text in "".join(shown)

    with log.open("a") as file:
        file.write("ERROR of today, which is longer than the next\n")
    until(lambda: is_shown("[gateway] ERROR of today"), 10, "the new line is shown")
    log.rename(tmp_path / "gateway.log.1")
    log.write_text("ERROR after\n")
    until(lambda: is_shown("[gateway] ERROR after"), 10, "the line after rotation is shown")
    tail.stop()
    tail.join()
    assert "yesterday" not in "".join(shown)
