from dataclasses import replace

from trainer.pipeline.leaderboard import Contrast, Entry, as_json, as_markdown, marked
from trainer.release.evaluation import Figures
from trainer.release.intervals import Interval
from trainer.release.response_times import measure_latency


def entry(name: str, loss: float, latency: float = 1.0, note: str = "") -> Entry:
    figures = Figures(100, 0.8, 0.8, 0.02, loss)
    return Entry(name, "text", validation=figures, latency_ms=latency, note=note)


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


def test_shop_without_official_shares_has_no_official_figure() -> None:
    figures = Figures(50, 0.6123, float("nan"), 0.01, 1.2)
    assert "nan" not in as_markdown([replace(entry("a", 0.7), test=figures)])


def test_board_states_intervals_and_what_is_beyond_chance() -> None:
    against = Contrast(Interval(-0.02, -0.03, -0.01), Interval(0.1, -0.1, 0.3))
    judged = replace(
        entry("a", 0.7), validation_f1=Interval(0.8, 0.779, 0.822), against_chosen=against
    )
    (line,) = as_markdown([judged]).splitlines()[2:]
    assert "| 0.8000 (0.779–0.822) |" in line
    assert "| -0.0200 (-0.0300 to -0.0100) | F1 |" in line


def test_differences_whose_interval_holds_zero_are_chance() -> None:
    some, none = Interval(-0.02, -0.03, -0.01), Interval(-0.01, -0.02, 0.01)
    assert Contrast(none, none).beyond_chance == "no"
    assert Contrast(some, some).beyond_chance == "F1, log loss"
    assert not Contrast(none, some).is_worse
    assert Contrast(some, none).is_worse
    assert Contrast(none, Interval(0.02, 0.01, 0.03)).is_worse


def test_fusions_are_set_against_text_alone_in_a_table_of_their_own() -> None:
    against = Contrast(Interval(0.01, 0.0, 0.02), Interval(-0.1, -0.2, -0.05))
    fusion = replace(entry("mean", 0.7), modality="fusion", against_text=against)
    lines = as_markdown([entry("a", 0.6), fusion]).splitlines()
    assert "Fusion against text alone" in lines[5]
    assert lines[-1] == (
        "| mean | 100 | +0.0100 (+0.0000 to +0.0200) | -0.1000 (-0.2000 to -0.0500) | – | – | – |"
    )
    assert "Fusion against" not in as_markdown([entry("a", 0.6)])


def test_latency_is_measured_on_single_items_and_rate_on_batches() -> None:
    seen: list[int] = []
    latency, rate = measure_latency(lambda items: seen.append(len(items)), list(range(10)), batch=4)
    assert seen == [1] * 13 + [4, 4, 2]
    assert latency >= 0
    assert rate > 0
