"""Verdict rules: when each fires, when it does not, and when data is insufficient."""

from dataclasses import replace

import pytest

from trainer.monitoring.report.evidence import Evidence, Measured
from trainer.monitoring.report.verdict import RULES, Finding, Level, judge

GOOD = Measured(0.80, 0.78, 0.82, 400)
WORSE = Measured(0.74, 0.72, 0.76, 400)
#: A month without any problem.
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
        for rule, result in zip(RULES, judge(evidence).findings, strict=True)
        if result.fired
    ]


def finding(evidence: Evidence, name: str) -> Finding:
    names = [rule.__name__ for rule in RULES]
    return judge(evidence).findings[names.index(name)]


def test_quiet_month_is_healthy_and_reports_its_figures() -> None:
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
        ({"estimated": None, "not_estimated": "unlike"}, ["inestimable"], Level.WATCH),
        ({"estimated": None, "not_estimated": "foreign"}, ["inestimable"], Level.WATCH),
        (
            {"classes": {"Livres": (Measured(0.9, 0.85, 0.95, 40), Measured(0.7, 0.6, 0.8, 40))}},
            ["fallen_classes"],
            Level.WATCH,
        ),
    ],
)
def test_each_rule_fires_on_its_figure(
    changes: dict[str, object], rules: list[str], level: Level
) -> None:
    evidence = replace(QUIET, **changes)  # type: ignore[arg-type]  # one field each
    assert fired(evidence) == rules
    assert judge(evidence).level is level


def test_insignificant_loss_fires_nothing() -> None:
    wide = Measured(0.74, 0.66, 0.82, 110)
    assert fired(replace(QUIET, labelled=wide)) == []
    assert fired(replace(QUIET, labelled=Measured(0.79, 0.789, 0.791, 90_000))) == []


def test_single_window_that_moved_fires_nothing() -> None:
    assert fired(replace(QUIET, moved=1, windows=2)) == []
    assert fired(replace(QUIET, moved=2, windows=9)) == []


def test_loss_within_the_error_of_earlier_estimates_fires_nothing() -> None:
    evidence = replace(QUIET, estimated=Measured(0.78, 0.77, 0.79, 9_000), past_error=0.04)
    assert fired(evidence) == []
    assert "error of earlier estimates is 0.040" in finding(evidence, "estimated_loss").found


def test_first_estimate_is_compared_with_the_test_set() -> None:
    evidence = replace(QUIET, estimated_before=None, estimated=Measured(0.7, 0.69, 0.71, 9_000))
    assert "large_estimated_loss" in fired(evidence)
    assert "on the test set" in finding(evidence, "large_estimated_loss").found


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
def test_rule_does_not_decide_on_too_little_data(changes: dict[str, object], rule: str) -> None:
    evidence = replace(QUIET, **changes)  # type: ignore[arg-type]  # one field each
    assert finding(evidence, rule).fired is None
    assert rule not in fired(evidence)


def test_recently_promoted_release_is_watched_and_not_replaced() -> None:
    evidence = replace(QUIET, labelled=WORSE, promoted="release 4 has served only since 2026-11-20")
    verdict = judge(evidence)
    assert verdict.level is Level.WATCH
    assert verdict.sentence.endswith(
        "But release 4 has served only since 2026-11-20: wait for its first full month."
    )


def test_figures_of_the_manifest_are_compared_without_an_interval() -> None:
    manifest = Measured(0.82, None, None, 124)
    assert "labels_against_test" in fired(replace(QUIET, labelled=WORSE, test=manifest))
    assert "labels_against_test" not in fired(replace(QUIET, test=manifest))


def test_empty_and_tiny_months_are_not_healthy() -> None:
    empty = judge(Evidence())
    assert (empty.level, empty.findings) == (Level.WATCH, ())
    assert empty.sentence == "No product was answered, so there is nothing to judge."
    tiny = judge(Evidence(answered=12))
    assert tiny.level is Level.WATCH
    assert tiny.sentence.startswith("Only 12 products")


def test_every_rule_states_itself_and_its_finding() -> None:
    for result in judge(QUIET).findings:
        assert result.rule
        assert result.found.endswith(".")
