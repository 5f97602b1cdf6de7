import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.pipeline.steps import MARKER, StepFailed, Steps

CODE = ("trainer.candidates.calibration",)


def write(text: str) -> Callable[[Path], None]:
    def produce(folder: Path) -> None:
        (folder / "result").write_text(text)

    return produce


def run(work: Path, produce: Callable[[Path], None], **key: object) -> Path:
    steps = Steps(work, total=1)
    return steps.run("fit", produce, key=key, code=CODE).folder


def refuse(_folder: Path) -> None:
    pytest.fail("The step was computed again")


def test_finished_step_is_not_computed_again(tmp_path: Path) -> None:
    first = run(tmp_path, write("one"), size=1)
    assert run(tmp_path, refuse, size=1) == first
    assert (first / "result").read_text() == "one"


def test_other_parameters_are_another_step(tmp_path: Path) -> None:
    first = run(tmp_path, write("one"), size=1)
    second = run(tmp_path, write("two"), size=2)
    assert first != second
    assert (first / "result").read_text() == "one"


def test_step_after_another_result_is_another_step(tmp_path: Path) -> None:
    steps = Steps(tmp_path, total=3)
    one = steps.run("prepare", write("1"), key={"size": 1}, code=CODE)
    two = steps.run("prepare", write("2"), key={"size": 2}, code=CODE)
    after = [
        steps.run("fit", write("x"), key={}, code=CODE, after=(before,)) for before in (one, two)
    ]
    assert after[0].folder != after[1].folder


def test_changed_code_is_another_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "candidate_under_test.py"
    module.write_text("RATE = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    steps = Steps(tmp_path / "work", total=2)
    found = []
    for source in ("RATE = 1", "RATE = 2"):
        module.write_text(source)
        step = steps.run("fit", write(source), key={}, code=(module.stem,))
        found.append(step.folder)
    assert found[0] != found[1]


def test_stopped_step_goes_on_where_it_was(tmp_path: Path) -> None:
    # Given a step that was killed after its first half
    def die(folder: Path) -> None:
        (folder / "half").write_text("done")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, die)

    # When it runs again, it finds that half
    def go_on(folder: Path) -> None:
        assert (folder / "half").read_text() == "done"

    folder = run(tmp_path, go_on)
    # Then it is finished
    assert json.loads((folder / MARKER).read_text())["name"] == "fit"


def test_full_disk_is_said_with_the_step(tmp_path: Path) -> None:
    def fill(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StepFailed, match=r"disk is full in the step 'fit': \d+ MB are free"):
        run(tmp_path, fill)
    # And room made, the step can run
    run(tmp_path, write("one"))


def test_progress_can_be_followed(tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    steps = Steps(tmp_path, total=2, progress=progress)
    for name in ("one", "two"):
        steps.run(name, write(name), key={}, code=CODE)
    lines = [json.loads(line) for line in progress.read_text().splitlines()]
    assert [(line["step"], line["done"], line["of"]) for line in lines] == [
        ("one", 0, 2),
        ("one", 1, 2),
        ("two", 1, 2),
        ("two", 2, 2),
    ]


def test_old_results_are_removed_and_used_ones_kept(tmp_path: Path) -> None:
    old = run(tmp_path, write("old"), size=1)
    used = run(tmp_path, write("used"), size=2)
    for folder in (old, used):
        os.utime(folder / MARKER, (0, 0))
    steps = Steps(tmp_path, total=1)
    steps.run("fit", refuse, key={"size": 2}, code=CODE)
    steps.prune()
    assert not old.exists()
    assert used.exists()


def test_table_says_what_was_kept(tmp_path: Path) -> None:
    run(tmp_path, write("one"))
    steps = Steps(tmp_path, total=1)
    steps.run("fit", refuse, key={}, code=CODE)
    assert "| fit |" in steps.table()
    assert "kept from before" in steps.table()
