"""The boards: what is committed is what the code makes, and asks for what exists."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.grafana.__main__ import FOLDER
from infra.grafana.boards import BOARDS
from infra.grafana.panels import SOURCE, Board, text_of
from tests.support.promql import known_series, names_in, unknown_names

PANELS = [
    (board.name, panel.title, legend, query)
    for board in BOARDS
    for panels in board.rows.values()
    for panel in panels
    for legend, query in panel.queries.items()
]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_committed_board_matches_the_code(board: Board) -> None:
    path = FOLDER / f"{board.name}.json"
    assert path.read_text() == text_of(board), "make boards"


def test_no_board_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {board.name for board in BOARDS}


@pytest.mark.parametrize(("board", "title", "legend", "query"), PANELS)
def test_every_query_names_metrics_and_labels_that_exist(
    board: str, title: str, legend: str, query: str
) -> None:
    assert unknown_names(query) == []
    of_all = set().union(*(known_series()[one] for one in names_in(query).metrics))
    assert set(re.findall(r"{{(\w+)}}", legend)) <= of_all


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_do_not_overlap(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    document: dict[str, Any] = json.loads(text_of(board))
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken
        taken |= cells
    numbers = [panel["id"] for panel in document["panels"]]
    assert len(numbers) == len(set(numbers))


def test_every_declared_metric_is_on_a_board() -> None:
    shown = {metric for *_, query in PANELS for metric in names_in(query).metrics}
    ours = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in known_series()
        if name.startswith("rayon_")
    }
    seen = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert ours - seen == set()


def test_boards_use_the_provisioned_data_source() -> None:
    provisioning = FOLDER.parent / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "rayon.yml").read_text())
    assert [one["uid"] for one in sources["datasources"]] == [SOURCE["uid"]]
    folder = yaml.safe_load((provisioning / "dashboards" / "rayon.yml").read_text())
    compose = yaml.safe_load(Path(FOLDER.parents[2] / "docker-compose.yml").read_text())
    mounts = compose["services"]["grafana"]["volumes"]
    assert f"./infra/grafana/dashboards:{folder['providers'][0]['options']['path']}:ro" in mounts
