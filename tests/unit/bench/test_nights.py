"""Accounts, times, bounds and the table of `make nights`."""

import math
import re
from pathlib import Path

import pytest

from tests.bench.nights.accounts import Account, Row, account, by_title, changed, unfinished
from tests.bench.nights.faults import FAULTS, chosen, names
from tests.bench.nights.machine import KILLED
from tests.bench.nights.outcome import (
    Allowed,
    Outcome,
    closed_seconds,
    livez_excess,
    percentile,
    table,
)
from tests.bench.nights.prober import Probe, Prober
from tests.bench.nights.traffic import Submission


def submission(title: str, status: int = 202, **fields: object) -> Submission:
    return Submission((title,), key=title, due=0.0, status=status, **fields)  # type: ignore[arg-type]


def row(title: str, status: str = "done", **fields: str) -> Row:
    parts = {"id": f"of {title}", "error": "", "degraded": "", "answer": "40"}
    return Row(title=title, status=status, **(parts | fields))


def probes(target: str, seconds: float, outcome: str = "ok", count: int = 100) -> list[Probe]:
    return [Probe(target, 0.0, seconds, outcome)] * count


def outcome(**fields: object) -> Outcome:
    return Outcome("now", "sqlite", "kill-feeder", **fields)  # type: ignore[arg-type]


def test_accepted_jobs_are_done_or_failed_for_a_reason() -> None:
    sent = [submission(title) for title in "abc"]
    rows = by_title(
        [
            row("a"),
            row("b", "failed", error="message_parked"),
            row("c", degraded="image_unreadable"),
        ]
    )
    found = account(sent, rows)
    assert (found.sent, found.accepted, found.jobs, found.done) == (3, 3, 3, 2)
    assert found.failed == {"message_parked": 1}
    assert (found.degraded, found.lost, found.doubled) == (1, 0, 0)


def test_accepted_job_without_a_row_is_lost() -> None:
    assert account([submission("a")], {}).lost == 1


def test_accepted_job_that_still_waits_is_lost() -> None:
    assert account([submission("a")], by_title([row("a", "queued")])).lost == 1


def test_every_row_of_a_catalog_is_counted() -> None:
    catalog = Submission(("a", "b", "c"), key="k", due=0.0, status=202)
    found = account([catalog], by_title([row("a"), row("b")]))
    assert (found.sent, found.jobs, found.done, found.lost) == (1, 3, 2, 1)


def test_refused_submission_is_not_lost() -> None:
    found = account([submission("a", 503), submission("b", 429), submission("c", 503)], {})
    assert found.refused == {503: 2, 429: 1}
    assert (found.jobs, found.lost) == (0, 0)


def test_submission_that_was_sent_again_counts_as_unanswered_and_once() -> None:
    sent = [submission("a", was_unanswered=True), submission("b", 0)]
    found = account(sent, by_title([row("a")]))
    assert (found.unanswered, found.jobs, found.doubled) == (2, 1, 0)


def test_title_with_two_jobs_is_doubled() -> None:
    sent = [submission("a", was_unanswered=True)]
    assert account(sent, by_title([row("a"), row("a", id="another")])).doubled == 1


def test_unfinished_jobs_are_waited_for() -> None:
    sent = [submission("a"), submission("b"), submission("c"), submission("d", 503)]
    rows = by_title([row("a"), row("b", "queued")])
    assert unfinished(sent, rows) == ["b", "c"]


def test_final_answer_that_changes_is_reported() -> None:
    before = by_title([row("a"), row("b"), row("c", "queued")])
    after = by_title([row("a"), row("b", answer="50"), row("c")])
    assert changed(before, after) == ["b"]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentile_is_the_value_that_a_share_does_not_exceed(share: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(percentile([], 0.99))


def test_livez_is_judged_beside_the_bare_endpoint() -> None:
    busy_machine = probes("livez", 0.4) + probes("bare", 0.3)
    assert livez_excess(busy_machine) == pytest.approx(0.1)
    assert outcome(probes=busy_machine).faults() == []
    assert outcome(probes=probes("livez", 0.4) + probes("bare", 0.01)).faults() == ["/livez"]


def test_late_probe_counts_with_the_time_that_it_waited() -> None:
    hanging = probes("livez", 0.005) + probes("livez", 10.0, "late", count=2)
    assert livez_excess(hanging + probes("bare", 0.005)) > 9


def test_closed_port_is_no_slow_answer() -> None:
    closed = probes("livez", 0.005) + probes("livez", 0.0001, "refused", count=40)
    assert closed_seconds(closed) == pytest.approx(2.0)
    assert outcome(probes=closed).faults() == ["/livez refused"]
    assert outcome(probes=closed, allowed=Allowed(to_close=True)).faults() == []


@pytest.mark.parametrize(
    ("fields", "missed"),
    [
        ({"account": Account(lost=1)}, "lost"),
        ({"account": Account(doubled=1)}, "doubled"),
        ({"changed": 1}, "doubled"),
        (
            {"account": account([submission("a")], by_title([row("a", "failed")]))},
            "failed for good",
        ),
        ({"account": Account(degraded=1)}, "degraded"),
        ({"account": account([submission("a", 503)], {})}, "refused"),
        ({"account": account([submission("a", 0)], {})}, "unanswered"),
        ({"needs_person": True}, "needs a person"),
        ({"allowed": Allowed(accept_seconds=1.0), "accept_seconds": (0.1, 1.1)}, "slow 202"),
        ({"missed": ("polls reset",)}, "polls reset"),
    ],
)
def test_each_bound_can_be_missed(fields: dict[str, object], missed: str) -> None:
    assert outcome(**fields).faults() == [missed]


def test_allowed_refusals_and_hang_ups_are_held() -> None:
    sent = [submission("a", 503), submission("b", 0)]
    allowed = Allowed(to_refuse=True, to_hang_up=True)
    assert outcome(account=account(sent, {}), allowed=allowed).faults() == []


def test_skipped_fault_misses_nothing_and_names_its_reason() -> None:
    skipped = outcome(skipped="no tmpfs", needs_person=True)
    assert skipped.faults() == []
    _, line = table([skipped])
    assert re.split(r"  +", line) == ["now", "sqlite", "kill-feeder", "skipped", "no tmpfs"]


def test_table_has_a_verdict_for_each_fault() -> None:
    failed = account([submission("a")], by_title([row("a", "failed", error="lost")]))
    header, held, missed = table([outcome(), outcome(account=failed)])
    assert header.split()[:4] == ["code", "database", "fault", "sent"]
    assert "held" in held
    assert "MISSED: failed for good  failed: 1 x lost" in missed


def test_probes_between_two_times_are_read(tmp_path: Path) -> None:
    file = tmp_path / "probes.txt"
    file.write_text("livez 1.0000 0.0050 ok\nlivez 2.0000 0.0001 refused\nbare 3.0 0.1 ok\n")
    assert Prober(file).probes(1.5, 3.0) == [Probe("livez", 2.0, 0.0001, "refused")]


def test_names_of_faults_are_unique_and_include_every_kill() -> None:
    found = names()
    assert len(found) == len(set(found))
    assert {f"kill-{name}" for name in KILLED} <= set(found)


def test_only_the_named_faults_are_chosen() -> None:
    only = frozenset({"disk-full", "kill-redis"})
    assert {fault.name for fault in chosen(FAULTS, only)} == only
    assert len(chosen(FAULTS, frozenset())) == len(FAULTS)
