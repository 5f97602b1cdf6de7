import errno
import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.candidates.calibration import fit_temperature
from trainer.pipeline.steps import MARKER, StepFailed, Steps

CODE = (fit_temperature,)


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


def test_other_parameters_compute_the_step_again(tmp_path: Path) -> None:
    first = run(tmp_path, write("one"), size=1)
    second = run(tmp_path, write("two"), size=2)
    assert first != second
    assert (first / "result").read_text() == "one"


def test_other_result_of_an_earlier_step_computes_the_step_again(tmp_path: Path) -> None:
    steps = Steps(tmp_path, total=3)
    one = steps.run("prepare", write("1"), key={"size": 1}, code=CODE)
    two = steps.run("prepare", write("2"), key={"size": 2}, code=CODE)
    after = [
        steps.run("fit", write("x"), key={}, code=CODE, after=(before,)) for before in (one, two)
    ]
    assert after[0].folder != after[1].folder


def test_edit_of_an_imported_module_computes_the_step_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a step whose module imports another one, within a function
    package = tmp_path / "edited_candidate"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text("RATE = 1")
    (package / "fit.py").write_text(
        "def fit():\n    from edited_candidate.rates import RATE\n    return RATE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    fit = importlib.import_module("edited_candidate.fit").fit

    def folder() -> Path:
        steps = Steps(tmp_path / "work", total=1)
        return steps.run("fit", write("result"), key={}, code=[fit]).folder

    first = folder()
    assert folder() == first
    # When the imported module is edited, and then the module itself
    (package / "rates.py").write_text("RATE = 2")
    second = folder()
    with (package / "fit.py").open("a") as file:
        file.write("# edited")
    third = folder()
    # Then the step is computed again each time
    assert len({first, second, third}) == 3


def test_interrupted_step_continues_in_its_folder(tmp_path: Path) -> None:
    # Given a step that was killed after its first half
    def die(folder: Path) -> None:
        (folder / "half").write_text("done")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, die)

    # When it runs again, it finds that half
    def resume(folder: Path) -> None:
        assert (folder / "half").read_text() == "done"

    folder = run(tmp_path, resume)
    # Then it is finished
    assert json.loads((folder / MARKER).read_text())["name"] == "fit"


def test_full_disk_error_names_the_step(tmp_path: Path) -> None:
    def fill(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StepFailed, match=r"disk is full in the step 'fit': \d+ MB are free"):
        run(tmp_path, fill)
    # And after space was freed, the step can run
    run(tmp_path, write("one"))


def test_progress_file_counts_finished_steps(tmp_path: Path) -> None:
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


def test_unused_old_results_are_removed(tmp_path: Path) -> None:
    old = run(tmp_path, write("old"), size=1)
    used = run(tmp_path, write("used"), size=2)
    for folder in (old, used):
        os.utime(folder / MARKER, (0, 0))
    steps = Steps(tmp_path, total=1)
    steps.run("fit", refuse, key={"size": 2}, code=CODE)
    steps.prune()
    assert not old.exists()
    assert used.exists()


def test_table_marks_reused_steps(tmp_path: Path) -> None:
    run(tmp_path, write("one"))
    steps = Steps(tmp_path, total=1)
    steps.run("fit", refuse, key={}, code=CODE)
    assert "| fit |" in steps.table()
    assert "| reused |" in steps.table()
