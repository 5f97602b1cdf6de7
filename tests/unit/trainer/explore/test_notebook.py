"""The notebook runs as it is, on a small shop; fetching the project and training are left out."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import trainer.__main__
from trainer.explore import page

NOTEBOOK = Path(page.__file__).parent / "rayon.ipynb"


def cells(*tags: str) -> list[dict[str, Any]]:
    """Code cells that have one of the tags, or those that have none."""
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


def test_the_notebook_explores_a_dataset(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.syspath_prepend("")
    (shop / "explore.html").touch()
    shown: list[Any] = []
    root, *rest = cells()
    names = {"DATA": shop, "Path": Path, "display": shown.append}
    run([root], names)
    # Written beside the data, not into the project.
    monkeypatch.chdir(shop.parent)
    run(rest, names)
    assert "8 rows, 4 classes, 5 images" in capsys.readouterr().out
    assert (shop.parent / "explore.html").stat().st_size > 10_000
    assert [one for one in shown if "base64" in getattr(one, "_repr_html_", str)()]
    assert len(shown) > 10


def test_the_notebook_trains_by_the_command_and_shows_the_leaderboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Namespace] = []

    def train(arguments: Namespace) -> None:
        given.append(arguments)
        arguments.out.mkdir(parents=True)
        (arguments.out / "MODEL_CARD.md").write_text("the card")
        (arguments.work / "leaderboard.md").write_text("the leaderboard")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer.__main__, "_train", train)
    run(cells("train"), {"DATA": tmp_path, "Path": Path})
    assert given[0].data == tmp_path
    assert capsys.readouterr().out == "the leaderboard\nthe card\n"


def test_outputs_are_cleared() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def test_a_notebook_says_where_the_data_is() -> None:
    names: dict[str, Any] = {}
    run(cells("parameters"), names)
    assert isinstance(names["DATA"], Path)
