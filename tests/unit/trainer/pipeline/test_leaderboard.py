from dataclasses import replace

from trainer.pipeline.latency import measure_latency
from trainer.pipeline.leaderboard import Entry, as_json, as_markdown, choose, marked
from trainer.release.evaluation import Figures


def entry(name: str, loss: float, latency: float = 1.0, note: str = "") -> Entry:
    figures = Figures(100, 0.8, 0.8, 0.02, loss)
    return Entry(name, "text", validation=figures, latency_ms=latency, note=note)


def test_least_log_loss_is_chosen() -> None:
    best = choose([entry("a", 0.8), entry("b", 0.7), entry("c", 0.9)], budget_ms=10)
    assert best is not None
    assert best.name == "b"


def test_faster_of_equal_candidates_is_chosen() -> None:
    best = choose([entry("slow", 0.7, 9.0), entry("quick", 0.7, 2.0)], budget_ms=10)
    assert best is not None
    assert best.name == "quick"


def test_candidate_over_budget_is_not_chosen() -> None:
    best = choose([entry("slow", 0.1, 11.0), entry("quick", 0.7)], budget_ms=10)
    assert best is not None
    assert best.name == "quick"
    assert choose([entry("slow", 0.1, 11.0)], budget_ms=10) is None


def test_unservable_or_untried_candidate_is_not_chosen() -> None:
    untried = Entry("missing", "text", note="no weights")
    assert choose([entry("offline", 0.1, note="not served"), untried], budget_ms=10) is None


def test_board_marks_the_choice_and_lists_the_best_first() -> None:
    entries = [entry("b", 0.8), Entry("missing", "text", note="no weights"), entry("a", 0.7)]
    board = marked(entries, entries[2])
    assert [one.name for one in board] == ["a", "b", "missing"]
    assert [one.is_chosen for one in board] == [True, False, False]
    lines = as_markdown(board).splitlines()
    assert lines[2].startswith("| **a** |")
    assert "no weights" in lines[4]
    assert len({line.count("|") for line in lines}) == 1
    assert as_json(board)[0]["validation"]["log_loss"] == 0.7


def test_board_shows_test_figures_beside_validation_figures() -> None:
    figures = Figures(50, 0.6123, 0.6234, 0.01, 1.2)
    line = as_markdown([replace(entry("a", 0.7), test=figures)]).splitlines()[2]
    assert "0.6123" in line
    assert "0.8000" in line


def test_latency_is_measured_on_single_items_and_rate_on_batches() -> None:
    seen: list[int] = []
    latency, rate = measure_latency(lambda items: seen.append(len(items)), list(range(10)), batch=4)
    assert seen == [1] * 13 + [4, 4, 2]
    assert latency >= 0
    assert rate > 0
