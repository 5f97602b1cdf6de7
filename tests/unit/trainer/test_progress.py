import json
from pathlib import Path

import pytest

from trainer.progress import telling


def test_each_step_is_printed_and_added_to_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('{"step": "of an attempt before"}\n')
    tell = telling(path)
    tell("read")
    tell("fit")
    assert capsys.readouterr().out == "read\nfit\n"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == ["of an attempt before", "read", "fit"]
    assert [line["done"] for line in lines[1:]] == [0, 1]


def test_without_a_file_steps_are_only_printed(capsys: pytest.CaptureFixture[str]) -> None:
    telling(None)("read")
    assert capsys.readouterr().out == "read\n"
