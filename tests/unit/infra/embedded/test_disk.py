"""A full disk is named once, and so is its end."""

from pathlib import Path

import pytest

from infra.embedded.disk import MEGABYTE, DiskWatch, Space, space_of


class Disk:
    """A disk with a number of free megabytes."""

    def __init__(self) -> None:
        self.free: float = 300

    def __call__(self, _folder: Path) -> Space:
        return Space(int(self.free * MEGABYTE), 500 * MEGABYTE)


def test_full_disk_and_its_end_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    disk = Disk()
    watch = DiskWatch(Path("/data/var"), disk)
    for free in (300, 20, 3, 0, 0, 20, 3, 31):
        disk.free = free
        watch.look()
    (full,) = capsys.readouterr().out.splitlines()
    assert full.startswith("[disk] /data/var: the disk is full (3 MB of 500 MB free)")
    disk.free = 200
    watch.look()
    watch.look()
    assert capsys.readouterr().out == "[disk] /data/var: there is room again (200 MB free).\n"


def test_disk_that_cannot_be_measured_is_no_reason_to_end(tmp_path: Path) -> None:
    DiskWatch(tmp_path / "missing").look()


def test_space_is_that_of_the_folder(tmp_path: Path) -> None:
    assert 0 < space_of(tmp_path).free <= space_of(tmp_path).total
