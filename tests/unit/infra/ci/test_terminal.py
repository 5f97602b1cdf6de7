"""The drawn terminal has what commands print, in 80 columns and without fonts of other sites."""

import sys
from pathlib import Path

from infra.ci.terminal import last_states, main, shown


def _python(code: str) -> str:
    return f'{sys.executable} -c "{code}"'


def test_command_sees_a_terminal_of_80_columns() -> None:
    code = "import os; print(os.get_terminal_size().columns); raise SystemExit(3)"
    assert shown([sys.executable, "-c", code]) == (3, "80\r\n")


def test_lines_that_are_drawn_again_appear_once() -> None:
    bars = "Uploading  10 %\nChecking\r\x1b[2K\x1b[1A\x1b[2KUploading 100 %\r\nChecked\r\nready"
    assert last_states(bars) == "Uploading 100 %\nChecked\nready"


def test_drawing_has_command_and_output_and_needs_no_other_site(tmp_path: Path) -> None:
    svg = tmp_path / "terminal.svg"
    assert main([str(svg), _python("print('Linge')")]) == 0
    drawn = svg.read_text()
    assert "Linge" in drawn
    assert "url(http" not in drawn
    assert main([str(tmp_path / "failed.svg"), _python("raise SystemExit(1)")]) == 1
    assert not (tmp_path / "failed.svg").exists()
