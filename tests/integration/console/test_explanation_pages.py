"""Explanations in the browser: busy, explained, failed, refused; without scripts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import update

from gateway.jobs.submission import IMAGES
from shared.db.models import Explanation, now
from tests.integration.console.conftest import Visitor
from tests.integration.console.test_product_pages import RESULT, png, store_thumbnail
from tests.support.factories import make_job

Visit = Callable[..., Visitor]
WORDS = {
    "designation": [
        {"text": "Piscine", "effect": 3.1},
        {"text": "gonflable", "effect": 1.3},
        {"text": "ronde, en", "effect": 0.01},
        {"text": "livre", "effect": -1.2},
    ],
    "description": [
        {"text": "Avec pompe", "effect": 0.4},
        {"text": "et", "effect": 0.0},
        {"text": "piscine", "effect": 3.1},
    ],
}
GRID = {"grid": [[0.0, 0.2, -0.3], [0.4, 2.1, 1.6], [-0.9, 0.1, 0.0]]}
TEXTS = {
    "en": {
        "explain": "Explain the answer",
        "busy": "The workers look for what spoke for the category…",
        "spoke": "Most for it: Piscine, gonflable, Avec pompe. Against it: livre. "
        "By the text alone, its probability is 95%.",
        "failed": "The answer could not be explained.",
        "refused": "2 of your answers are being explained. Try again in a few seconds.",
        "again": "Try again",
        "odds": "×\u00a022.2",
    },
    "fr": {
        "explain": "Expliquer la réponse",
        "busy": "Les workers cherchent ce qui a compté dans la réponse…",
        "spoke": "Ce qui plaide le plus pour elle : Piscine, gonflable, Avec pompe. "
        "Contre elle : livre. D’après le texte seul, sa probabilité est de 95\u00a0%.",
        "failed": "La réponse n’a pas pu être expliquée.",
        "refused": "2 de vos réponses sont en cours d’explication. "
        "Réessayez dans quelques secondes.",
        "again": "Réessayer",
        "odds": "×\u00a022,2",
    },
}


def answered(visitor: Visitor) -> str:
    """Add a product with an answer, and return the ID of its job."""
    values = dict(RESULT)
    job = make_job(
        visitor.user,
        designation="Piscine gonflable ronde, en livre",
        description="Avec pompe et piscine",
        status="done",
        prdtypecode=values.pop("prdtypecode"),
        confidence=values.pop("confidence"),
        result=values,
        image_uri=visitor.api.services.storage.put(IMAGES, png()),
        wants_image=True,
        finished_at=now(),
    )
    visitor.api.add(job)
    store_thumbnail(visitor, job.id, png())
    return job.id


def finish(visitor: Visitor, job_id: str, modality: str, **values: Any) -> None:
    """Store an explanation as fusion does."""
    changes = {"status": "done", "probability": 0.95, "finished_at": now(), **values}
    with visitor.api.unit_of_work() as work:
        work.session.execute(
            update(Explanation)
            .where(Explanation.job_id == job_id, Explanation.modality == modality)
            .values(**changes)
        )


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_answer_is_explained_by_words_and_parts_of_the_image(visit: Visit, scripts: bool) -> None:
    visitor = visit(java_script_enabled=scripts)
    texts = TEXTS[visitor.language]
    job_id = answered(visitor)
    page = visitor.open(f"/jobs/{job_id}")
    page.get_by_role("link", name=texts["explain"]).click()
    expect(page.locator("#why .busy")).to_have_text(texts["busy"])
    if scripts:
        visitor.check("why-busy")
    finish(visitor, job_id, "text", content=WORDS)
    finish(visitor, job_id, "image", content=GRID, probability=0.41)
    # The page follows by itself: with scripts in place, without them by loading again.
    expect(page.locator("#why h3")).to_have_count(2)
    expect(page.locator("#why h3 + p").first).to_have_text(texts["spoke"])
    marks = page.locator("#why .words mark")
    expect(marks).to_have_text(["Piscine", "gonflable", "livre", "Avec pompe", "piscine"])
    assert [mark.get_attribute("class") for mark in marks.all()] == [
        "for l3",
        "for l2",
        "against l2",
        "for l1",
        "for l3",
    ]
    cells = page.locator("#why .cells i")
    expect(cells).to_have_count(9)
    assert [cell.get_attribute("class") or "" for cell in cells.all()] == [
        *("", "", "against l1"),
        *("for l1", "for l3", "for l3"),
        *("against l2", "", ""),
    ]
    # The image is as large as the cells above it.
    image, grid = page.locator(".heat img").bounding_box(), page.locator(".cells").bounding_box()
    assert image is not None
    assert grid is not None
    assert abs(image["width"] - grid["width"]) < 2
    assert abs(image["height"] - grid["height"]) < 2
    # Tables below contain what the colours show.
    for summary in page.locator("#why summary").all():
        summary.click()
    expect(page.locator("#why tbody").first.locator("tr").first).to_contain_text(texts["odds"])
    expect(page.locator("#why tbody").nth(1).locator("td")).to_have_count(9)
    if scripts:
        visitor.check("why-done")


def test_failed_explanation_states_why(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    job_id = answered(visitor)
    page = visitor.open(f"/jobs/{job_id}?why=1")
    error = {"error_code": "release_unknown", "error_message": "No release 9"}
    for modality in ("text", "image"):
        finish(visitor, job_id, modality, status="failed", probability=None, **error)
    expect(page.locator("#why .notice")).to_have_text(texts["failed"])
    expect(page.locator("#why .detail").first).to_have_text("No release 9")
    visitor.check("why-failed")
    for modality in ("text", "image"):
        finish(
            visitor,
            job_id,
            modality,
            status="failed",
            finished_at=now() - timedelta(minutes=2),
            **error,
        )
    page.get_by_role("link", name=texts["again"]).click()
    expect(page.locator("#why .busy")).to_be_visible()


def test_refused_explanation_leaves_the_answer_in_place(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    jobs = [answered(visitor) for _ in range(3)]
    for job_id in jobs[:2]:
        expect(visitor.open(f"/jobs/{job_id}?why=1").locator("#why .busy")).to_be_visible()
    page = visitor.open(f"/jobs/{jobs[2]}?why=1")
    expect(page.locator("#why .notice")).to_have_text(texts["refused"])
    expect(page.locator(".verdict strong")).to_have_text("Piscine et accessoires")
    visitor.check("why-refused")
    finish(visitor, jobs[0], "text", content=WORDS)
    finish(visitor, jobs[0], "image", content=GRID)
    page.get_by_role("link", name=texts["again"]).click()
    expect(page.locator("#why .busy")).to_be_visible()
