"""Run the notebook on a small shop, without installing the project and without training."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import trainer.__main__
from trainer.explore import page

NOTEBOOK = Path(page.__file__).parent / "rayon.ipynb"


def cells(*tags: str) -> list[dict[str, Any]]:
    """Return the code cells with one of the tags, or those without any."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    wanted = set(tags)
    return [
        cell
        for cell in code
        if (wanted & set(cell["metadata"].get("tags", [])) if tags else not cell["metadata"])
    ]


def run(chosen: list[dict[str, Any]], names: dict[str, Any]) -> None:
    for cell in chosen:
        exec(compile("".join(cell["source"]), f"cell {cell['id']}", "exec"), names)


def test_notebook_explores_a_dataset(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.syspath_prepend("")
    (shop / "explore.html").touch()
    displayed: list[Any] = []
    root, *rest = cells()
    names = {"DATA": shop, "Path": Path, "display": displayed.append}
    run([root], names)
    # The page is written beside the data, not into the project.
    monkeypatch.chdir(shop.parent)
    run(rest, names)
    assert "8 rows, 4 classes, 5 images" in capsys.readouterr().out
    assert (shop.parent / "explore.html").stat().st_size > 10_000
    assert [item for item in displayed if "base64" in getattr(item, "_repr_html_", str)()]
    assert len(displayed) > 10


def test_notebook_trains_with_the_command_and_prints_the_leaderboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Namespace] = []

    def train(args: Namespace) -> None:
        calls.append(args)
        args.out.mkdir(parents=True)
        (args.out / "MODEL_CARD.md").write_text("the card")
        (args.work / "leaderboard.md").write_text("the leaderboard")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer.__main__, "_train", train)
    run(cells("train"), {"DATA": tmp_path, "Path": Path})
    assert calls[0].data == tmp_path
    assert capsys.readouterr().out == "the leaderboard\nthe card\n"


def test_notebook_has_no_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def test_parameters_cell_defines_the_data_folder() -> None:
    names: dict[str, Any] = {}
    run(cells("parameters"), names)
    assert isinstance(names["DATA"], Path)
