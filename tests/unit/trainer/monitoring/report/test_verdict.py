"""The rules of the verdict: when each fires, when it does not, and when it cannot tell."""

from dataclasses import replace

import pytest

from trainer.monitoring.report.verdict import RULES, Evidence, Finding, Level, Measured, judge

GOOD = Measured(0.80, 0.78, 0.82, 400)
WORSE = Measured(0.74, 0.72, 0.76, 400)
#: A month in which nothing happened.
QUIET = Evidence(
    answered=9_000,
    failed=20,
    degraded=90,
    test=GOOD,
    labelled=GOOD,
    labelled_before=GOOD,
    estimated=Measured(0.81, 0.80, 0.82, 9_000),
    estimated_before=Measured(0.81, 0.80, 0.82, 9_000),
    past_error=0.015,
    windows=9,
    slow_seconds=0.4,
)


def fired(evidence: Evidence) -> list[str]:
    return [
        rule.__name__
        for rule, found in zip(RULES, judge(evidence).findings, strict=True)
        if found.fired
    ]


def finding(evidence: Evidence, name: str) -> Finding:
    names = [rule.__name__ for rule in RULES]
    return judge(evidence).findings[names.index(name)]


def test_quiet_month_is_healthy_and_says_its_figures() -> None:
    verdict = judge(QUIET)
    assert (verdict.level, fired(QUIET)) == (Level.HEALTHY, [])
    assert verdict.sentence == (
        "No rule fired: F1 of reviewed answers is 0.800 (0.780 to 0.820), the estimate without "
        "labels is 0.810 (0.800 to 0.820)."
    )


@pytest.mark.parametrize(
    ("changes", "rules", "level"),
    [
        (
            {"labelled": WORSE},
            ["labels_against_test", "labels_against_before"],
            Level.RETRAIN,
        ),
        ({"labelled": WORSE, "labelled_before": WORSE}, ["labels_against_test"], Level.RETRAIN),
        ({"labelled": WORSE, "test": None}, ["labels_against_before"], Level.RETRAIN),
        (
            {"estimated": Measured(0.75, 0.74, 0.76, 9_000)},
            ["large_estimated_loss", "estimated_loss"],
            Level.RETRAIN,
        ),
        ({"estimated": Measured(0.78, 0.77, 0.79, 9_000)}, ["estimated_loss"], Level.WATCH),
        ({"alerts": ["Titles are shorter."], "moved": 2}, ["drift"], Level.WATCH),
        ({"moved": 3, "windows": 12}, ["drift"], Level.WATCH),
        ({"failed": 400}, ["failures"], Level.WATCH),
        ({"degraded": 500}, ["degraded_answers"], Level.WATCH),
        ({"slow_seconds": 5.5}, ["slowness"], Level.WATCH),
        (
            {"classes": {"Livres": (Measured(0.9, 0.85, 0.95, 40), Measured(0.7, 0.6, 0.8, 40))}},
            ["fallen_classes"],
            Level.WATCH,
        ),
    ],
)
def test_each_rule_fires_by_its_figure(
    changes: dict[str, object], rules: list[str], level: Level
) -> None:
    evidence = replace(QUIET, **changes)  # type: ignore[arg-type]  # one field each
    assert fired(evidence) == rules
    assert judge(evidence).level is level


def test_a_loss_that_chance_explains_fires_nothing() -> None:
    wide = Measured(0.74, 0.66, 0.82, 110)
    assert fired(replace(QUIET, labelled=wide)) == []
    assert fired(replace(QUIET, labelled=Measured(0.79, 0.789, 0.791, 90_000))) == []


def test_a_single_window_that_moved_fires_nothing() -> None:
    assert fired(replace(QUIET, moved=1, windows=2)) == []
    assert fired(replace(QUIET, moved=2, windows=9)) == []


def test_a_loss_within_the_estimates_own_error_fires_nothing() -> None:
    evidence = replace(QUIET, estimated=Measured(0.78, 0.77, 0.79, 9_000), past_error=0.04)
    assert fired(evidence) == []
    assert "off by 0.040" in finding(evidence, "estimated_loss").found


def test_without_a_month_before_the_estimate_is_held_against_the_test_set() -> None:
    evidence = replace(QUIET, estimated_before=None, estimated=Measured(0.7, 0.69, 0.71, 9_000))
    assert "large_estimated_loss" in fired(evidence)
    assert "of the test set" in finding(evidence, "large_estimated_loss").found


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"labelled": None}, "labels_against_test"),
        ({"labelled": replace(WORSE, rows=99)}, "labels_against_test"),
        ({"labelled_before": replace(GOOD, rows=99)}, "labels_against_before"),
        ({"estimated": None}, "estimated_loss"),
        ({"estimated": Measured(0.5, 0.4, 0.6, 150)}, "large_estimated_loss"),
        ({"windows": 0}, "drift"),
        ({"slow_seconds": None}, "slowness"),
        (
            {"classes": {"Livres": (Measured(0.9, 0.8, 1, 40), Measured(0.1, 0, 0.2, 29))}},
            "fallen_classes",
        ),
    ],
)
def test_where_there_is_too_little_a_rule_cannot_tell(
    changes: dict[str, object], rule: str
) -> None:
    evidence = replace(QUIET, **changes)  # type: ignore[arg-type]  # one field each
    assert finding(evidence, rule).fired is None
    assert rule not in fired(evidence)


def test_a_release_that_just_took_over_is_watched_and_not_replaced() -> None:
    evidence = replace(QUIET, labelled=WORSE, promoted="release 4 serves since 2026-11-20")
    verdict = judge(evidence)
    assert verdict.level is Level.WATCH
    assert verdict.sentence.endswith(
        "But release 4 serves since 2026-11-20, and its first whole month will tell."
    )


def test_figures_that_a_release_says_of_itself_are_compared_without_an_interval() -> None:
    said = Measured(0.82, None, None, 124)
    assert "labels_against_test" in fired(replace(QUIET, labelled=WORSE, test=said))
    assert "labels_against_test" not in fired(replace(QUIET, test=said))


def test_empty_and_tiny_months_are_told_of_and_not_praised() -> None:
    nothing = judge(Evidence())
    assert (nothing.level, nothing.findings) == (Level.WATCH, ())
    assert nothing.sentence == "Nothing was answered, so nothing can be said about it."
    tiny = judge(Evidence(answered=12))
    assert tiny.level is Level.WATCH
    assert tiny.sentence.startswith("Only 12 products")


def test_every_rule_says_what_it_is_and_what_it_found() -> None:
    for found in judge(QUIET).findings:
        assert found.rule
        assert found.found.endswith(".")
