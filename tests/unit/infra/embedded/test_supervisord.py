"""Log files of supervisord lose lines, and nothing else, while they cannot be written."""

import errno
import os
from pathlib import Path

import pytest
from supervisor import loggers  # type: ignore[import-untyped]

from infra.embedded.supervisord import LastingLog


class FullFile:
    """File on a full disk: what is flushed fails, as does closing it with text that is left."""

    def __init__(self, number: int = errno.ENOSPC) -> None:
        self.closed = False
        self._number = number

    def write(self, _content: bytes) -> None:
        pass

    def flush(self) -> None:
        raise OSError(self._number, os.strerror(self._number))

    def fileno(self) -> int:
        return 99

    def tell(self) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return 0

    def close(self) -> None:
        self.closed = True
        self.flush()


def log_file(path: Path, most_bytes: int = 1_000_000) -> LastingLog:
    log = LastingLog(str(path), "a", most_bytes, 2)
    log.setFormat("%(message)s")
    return log


def write(log: LastingLog, text: str) -> None:
    log.emit(loggers.LogRecord(loggers.LevelsByName.INFO, text.encode()))


def break_file(log: LastingLog, number: int = errno.ENOSPC) -> None:
    log.stream.close()
    log.stream = FullFile(number)  # type: ignore[assignment]


def test_line_that_cannot_be_written_is_lost_and_the_next_one_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_file(tmp_path / "gateway.log")
    write(log, "before\n")
    break_file(log)
    write(log, "lost\n")
    write(log, "after\n")
    log.close()
    assert (tmp_path / "gateway.log").read_text() == "before\nafter\n"
    assert capsys.readouterr().err == ""


def test_disk_that_stays_full_costs_only_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_file(tmp_path / "gateway.log")
    break_file(log)
    monkeypatch.setattr(Path, "open", lambda *_: FullFile())
    for _ in range(100):
        write(log, "lost\n")
    monkeypatch.undo()
    write(log, "there is room\n")
    log.close()
    assert (tmp_path / "gateway.log").read_text() == "there is room\n"
    assert capsys.readouterr().err == ""


def test_other_reason_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_file(tmp_path / "gateway.log")
    break_file(log, errno.EIO)
    monkeypatch.setattr(Path, "open", lambda *_: FullFile(errno.EIO))
    for _ in range(3):
        write(log, "lost\n")
    assert capsys.readouterr().err == (
        f"{tmp_path / 'gateway.log'} cannot be written: Input/output error\n"
    )


def test_file_that_cannot_be_created_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    log = log_file(folder / "gateway.log")
    write(log, "lost\n")
    folder.mkdir()
    write(log, "kept\n")
    log.close()
    assert (folder / "gateway.log").read_text() == "kept\n"


def test_rotation_that_fails_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_file(tmp_path / "gateway.log", most_bytes=10)
    monkeypatch.setattr(LastingLog, "removeAndRename", fail)
    write(log, "longer than ten bytes\n")
    monkeypatch.undo()
    write(log, "next\n")
    log.close()
    assert (tmp_path / "gateway.log.1").read_text() == "longer than ten bytes\nnext\n"


def fail(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
