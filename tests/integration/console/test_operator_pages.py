"""Queues, dead letters, alerts and models in the browser of an operator or admin."""

from collections.abc import Callable

from playwright.sync_api import expect
from sqlalchemy import select

from shared.broker import Worker
from shared.db.models import (
    AlertStatus,
    AuditEntry,
    DeadLetter,
    DriftAlert,
    Job,
    JobStatus,
    Promotion,
    Report,
    Role,
    TrainingRun,
    new_id,
    now,
)
from tests.integration.console.conftest import Visitor
from tests.support.factories import make_job

Visit = Callable[..., Visitor]
TEXTS = {
    "en": {
        "none": "No dead letters: every message was handled.",
        "handled": "2 dead letters handled.",
        "tick": "Tick at least one.",
        "down": "The queue does not answer. Jobs are accepted and wait in the database.",
        "calm": "No alerts: what is sent looks like what the models have learnt.",
        "ended": "The alert has ended.",
        "promoted": "The release is promoted.",
        "watched": "being watched",
        "registry": "The registry does not answer. Workers go on with the present release.",
    },
    "fr": {
        "none": "Aucun message en échec : tous ont été traités.",
        "handled": "2 messages traités.",
        "tick": "Cochez au moins une case.",
        "down": "La file d’attente ne répond pas. Les demandes sont acceptées et attendent dans la "
        "base de données.",
        "calm": "Aucune alerte : les envois ressemblent à ce que les modèles ont appris.",
        "ended": "L’alerte est close.",
        "promoted": "La version est promue.",
        "watched": "sous surveillance",
        "registry": "Le registre ne répond pas. Les workers continuent avec la version actuelle.",
    },
}


def dead_letters(visitor: Visitor, count: int) -> list[Job]:
    jobs = []
    for _ in range(count):
        job = make_job(visitor.user, status=JobStatus.FAILED.value, error_code="message_parked")
        payload = {
            "trace_id": "0" * 32,
            "lane": "interactive",
            "release": "1",
            "items": [{"job_id": job.id, "designation": "Piscine", "description": ""}],
        }
        visitor.api.add(
            job,
            DeadLetter(
                topic="score_text",
                payload=payload,
                fingerprint=new_id(),
                error="RuntimeError: the model is gone",
                deliveries=8,
                parked_at=now(),
            ),
        )
        jobs.append(job)
    return jobs


def test_queues_are_live_and_can_be_paused(visit: Visit) -> None:
    operator = visit(Role.OPERATOR)
    page = operator.open("/queues")
    operator.check("queues-empty")
    workers = page.locator("section[aria-labelledby=workers-title] tbody tr")
    expect(workers).to_have_count(0)
    operator.api.broker.present = [
        Worker(
            name="text@host:12",
            queues=("text.interactive",),
            releases=("1",),
            running=0,
            handled=12,
            seconds_since_consumed=1.0,
        )
    ]
    expect(workers).to_have_count(1)
    operator.check("queues")
    page.locator("[data-pause]").click()
    expect(page.locator("[data-pause]")).to_have_attribute("aria-pressed", "true")
    operator.api.broker.present = []
    page.wait_for_timeout(6_000)
    expect(workers).to_have_count(1)
    # The button keeps the focus, also when the part is replaced.
    page.locator("[data-pause]").click()
    expect(workers).to_have_count(0)
    expect(page.locator("[data-pause]")).to_be_focused()
    operator.api.broker.is_down = True
    operator.open("/queues")
    expect(page.get_by_role("alert")).to_have_text(TEXTS[operator.language]["down"])
    operator.check("queues-down")


def test_all_dead_letters_of_a_cause_are_replayed_with_a_reason(visit: Visit) -> None:
    operator = visit(Role.OPERATOR)
    texts = TEXTS[operator.language]
    page = operator.open("/dead-letters")
    expect(page.locator(".empty")).to_have_text(texts["none"])
    operator.check("dead-letters-empty")
    jobs = dead_letters(operator, 2)
    operator.open("/dead-letters")
    operator.check("dead-letters")
    page.locator("tbody a").first.click()
    page.wait_for_url("**/dead-letters/*")
    operator.check("dead-letter")
    page.go_back()
    page.locator("#reason-1").fill("The model is back")
    page.locator("button[value=replay]").first.click()
    expect(page.get_by_role("status")).to_have_text(texts["handled"])
    kept = [operator.api.get(Job, job.id) for job in jobs]
    assert [one and one.status for one in kept] == ["queued", "queued"]


def test_selected_dead_letters_are_discarded_with_a_reason(visit: Visit) -> None:
    operator = visit(Role.OPERATOR)
    texts = TEXTS[operator.language]
    dead_letters(operator, 3)
    page = operator.open("/dead-letters")
    discard = page.locator("form[action$=selected] button[value=discard]")
    page.locator("#reason-selected").fill("Sent by a test")
    discard.click()
    expect(page.get_by_role("alert")).to_have_text(texts["tick"])
    operator.check("dead-letters-none-selected")
    operator.complaints.clear()  # The browser reports the refusal.
    for box in page.get_by_role("checkbox").all()[:2]:
        box.check()
    page.locator("#reason-selected").fill("Sent by a test")
    discard.click()
    expect(page.get_by_role("status")).to_have_text(texts["handled"])
    expect(page.get_by_role("checkbox")).to_have_count(1)
    with operator.api.unit_of_work.reading() as session:
        entries = [entry.details for entry in session.scalars(select(AuditEntry))]
    assert entries.count({"reason": "Sent by a test"}) == 2


def test_alert_is_ended_with_a_reason_and_a_report_is_read(visit: Visit) -> None:
    operator = visit(Role.OPERATOR)
    texts = TEXTS[operator.language]
    page = operator.open("/alerts")
    expect(page.locator(".empty").first).to_have_text(texts["calm"])
    operator.check("alerts-empty")
    alert = DriftAlert(
        fingerprint=new_id(),
        raised_at=now(),
        source="person",
        raised_by="ada",
        kind="text",
        status=AlertStatus.OPEN.value,
        summary="Titles are cut",
        details={},
        steps=[{"at": now().isoformat(), "by": "ada", "text": "Raised"}],
    )
    report = Report(
        month="2026-10",
        made_at=now(),
        verdict="healthy",
        document={},
        page="<!DOCTYPE html><html lang=en><title>October</title><h1>October</h1></html>",
    )
    operator.api.add(alert, report)
    operator.open("/alerts")
    operator.check("alerts")
    with page.expect_popup() as popup:
        page.locator("a[href$='2026-10']").click()
    expect(popup.value.locator("h1")).to_have_text("October")
    page.locator("#reason-1").fill("The supplier has mended it")
    page.locator("button[value=dismiss]").click()
    expect(page.get_by_role("status")).to_have_text(texts["ended"])


def test_release_is_promoted_with_a_reason(visit: Visit) -> None:
    admin = visit(Role.ADMIN)
    texts = TEXTS[admin.language]
    page = admin.open("/models")
    admin.check("models")
    page.locator("#version").select_option("2")
    page.locator("#reason").fill("It is better")
    page.locator("button[value=promote]").click()
    expect(page.get_by_role("status")).to_have_text(texts["promoted"])
    expect(page.locator("section[aria-labelledby=ledger-title] tbody tr")).to_have_count(1)
    assert admin.api.releases.marked == "2"
    watch_over_releases(admin)
    admin.open("/models")
    badges = page.locator("section[aria-labelledby=ledger-title] td .badge")
    expect(badges).to_have_count(4)
    expect(badges.first).to_have_text(texts["watched"])
    admin.check("models-watched")
    admin.api.releases.is_down = True
    admin.open("/models")
    expect(page.get_by_role("alert")).to_have_text(texts["registry"])
    admin.check("models-down")


def watch_over_releases(admin: Visitor) -> None:
    """Store promotions in different states of their watches."""
    sentences = {
        "passed": "Not worse than release 1 by 5 measures after 400 answers and 31 labels",
        "rolled_back": "Release 2 is worse than release 1 after 25 answers. Both releases differ "
        "on 24 of 25 products by text; equally good ones differ on at most 41 % (p 4e-08)",
        "alerted": "Release 3 is worse than release 1 after 30 answers",
        "watching": "Compared with release 1: 12 answers, 112 products scored by both, 0 labels",
    }
    rows = [
        Promotion(
            version="2",
            previous_version="1",
            promoted_by="ada",
            reason="Better on our shoes",
            figures={},
            watch={"state": state, "sentence": sentence, "at": now().isoformat()},
        )
        for state, sentence in sentences.items()
    ]
    for row in rows:
        admin.api.add(row)


def test_training_run_is_followed_and_cancelled(visit: Visit) -> None:
    operator = visit(Role.OPERATOR)
    run = TrainingRun(
        id=new_id(),
        status="queued",
        requested_at=now(),
        requested_by="ada",
        reason="More data",
        dataset="shop@1",
        attempts=0,
    )
    operator.api.add(run)
    page = operator.open("/models")
    page.locator("section[aria-labelledby=runs-title] tbody a").click()
    page.wait_for_url(f"**/{run.id}")
    operator.check("training-run")
    page.locator("form[action$=cancel] button").click()
    expect(page.locator("form[action$=cancel]")).to_have_count(0)
    kept = operator.api.get(TrainingRun, run.id)
    assert kept is not None
    assert kept.status == "cancelled"
