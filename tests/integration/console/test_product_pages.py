"""Try a product in the browser: its busy, failing and final states, its label, and only by keys."""

import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from sqlalchemy import update

from shared.contracts import thumbnail_uri
from shared.db.models import Job, JobStatus, Role, now
from tests.integration.console.conftest import Visitor
from tests.support.factories import make_job

Visit = Callable[..., Visitor]
RESULT = {
    "prdtypecode": 2583,
    "category": "Piscine et accessoires",
    "confidence": 0.967,
    "top": [
        {"prdtypecode": 2583, "category": "Piscine et accessoires", "probability": 0.967},
        {"prdtypecode": 10, "category": "Livre", "probability": 0.02},
        {"prdtypecode": 2280, "category": "Magazine", "probability": 0.006},
        {"prdtypecode": 2403, "category": "Lot de livres", "probability": 0.004},
        {"prdtypecode": 2705, "category": "Livre neuf", "probability": 0.003},
    ],
    "modalities": {
        "text": {"prdtypecode": 2583, "confidence": 0.95},
        "image": {"prdtypecode": 10, "confidence": 0.41},
    },
    "degraded": None,
    "degraded_message": None,
}
TEXTS = {
    "en": {
        "classify": "Classify",
        "busy": "The product waits for its answer…",
        "empty": "Type a title or a description, or choose an image.",
        "degraded": "Answered by the text alone: the image could not be used.",
        "failed": "The product could not be classified.",
        "labelled": "The label is saved. It may train the next release.",
        "share": "97%",
        "has": "The release has this category: Livres (10). Choose it in the list.",
        "confirm": "Confirm that the category is new.",
        "missing": "There is nothing here",
    },
    "fr": {
        "classify": "Classer",
        "busy": "Le produit attend sa réponse…",
        "empty": "Saisissez une désignation ou une description, ou choisissez une image.",
        "degraded": "Réponse d’après le texte seul : l’image n’a pas pu être utilisée.",
        "failed": "Le produit n’a pas pu être classé.",
        "labelled": "La correction est enregistrée.",
        "share": "97\u00a0%",
        "has": "La version connaît déjà cette catégorie : Livres (10).",
        "confirm": "Confirmez que la catégorie est nouvelle.",
        "missing": "Page introuvable",
    },
}


def png(width: int = 60) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, 40), "teal").save(file, "PNG")
    return file.getvalue()


def store_thumbnail(visitor: Visitor, job_id: str, content: bytes) -> None:
    """Store what an image worker would make of the image of a product."""
    job = visitor.api.get(Job, job_id)
    assert job is not None
    assert job.image_uri is not None
    visitor.api.services.storage.put_at(thumbnail_uri(job.image_uri, 640), content)


def answer(visitor: Visitor, job_id: str, **changes: Any) -> None:
    """Write what a worker would write."""
    result = {**RESULT, **changes.pop("result", {})}
    values = {
        "status": JobStatus.DONE.value,
        "prdtypecode": result.pop("prdtypecode"),
        "confidence": result.pop("confidence"),
        "result": result,
        "finished_at": now(),
        **changes,
    }
    with visitor.api.unit_of_work() as work:
        work.session.execute(update(Job).where(Job.id == job_id).values(**values))


def job_of(page: Page) -> str:
    expect(page.locator("#answer")).to_be_visible()
    return page.url.rsplit("/", 1)[-1]


def test_product_is_tried_and_its_answer_appears_without_a_reload(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    page = visitor.open("/try")
    visitor.check("try-empty")
    page.locator("#designation").fill("Piscine gonflable ronde")
    page.locator("#description").fill("<p>Avec pompe &amp; bâche</p>")
    page.locator("#image").set_input_files(
        {"name": "p.png", "mimeType": "image/png", "buffer": png()}
    )
    expect(page.locator(".preview img")).to_be_visible()
    page.get_by_role("button", name=texts["classify"]).click()
    expect(page.locator(".busy")).to_have_text(texts["busy"])
    job_id = job_of(page)
    store_thumbnail(visitor, job_id, png(30))
    visitor.check("answer-busy")
    page.evaluate("window.isTheSame = true")
    answer(visitor, job_id)
    expect(page.locator(".verdict strong")).to_have_text("Piscine et accessoires")
    expect(page.locator(".verdict span")).to_have_text(texts["share"])
    expect(page.locator(".bars tbody tr")).to_have_count(5)
    expect(page.locator("#label")).to_be_visible()
    assert page.evaluate("window.isTheSame")
    shown = page.locator(".thumb").evaluate("image => image.naturalWidth")
    assert shown == 30, "the thumbnail and not the image"
    visitor.check("answer-done")


def test_mistake_keeps_what_was_typed_and_the_chosen_image(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    page = visitor.open("/try")
    page.get_by_role("button", name=texts["classify"]).click()
    expect(page.locator("#designation-mistake")).to_have_text(texts["empty"])
    visitor.check("try-mistake")
    page.locator("#designation").fill("x" * 3_000)
    page.locator("#image").set_input_files(
        {"name": "p.png", "mimeType": "image/png", "buffer": png()}
    )
    page.get_by_role("button", name=texts["classify"]).click()
    expect(page.locator("#designation")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#designation")).to_be_focused()
    expect(page.locator("#designation")).to_have_value("x" * 3_000)
    assert page.evaluate("document.querySelector('#image').files.length") == 1
    visitor.complaints.clear()  # The browser reports both refusals.


@pytest.mark.parametrize("state", ["degraded", "failed"])
def test_trouble_is_explained_in_words(visit: Visit, state: str) -> None:
    visitor = visit()
    job = make_job(visitor.user)
    visitor.api.add(job)
    if state == "degraded":
        modalities = {"text": RESULT["modalities"]["text"]}  # type: ignore[index]
        changed = {"modalities": modalities, "degraded": "image_unreadable"}
        answer(visitor, job.id, result={**changed, "degraded_message": "Image cannot be read."})
    else:
        error = {"error_code": "no_model", "error_message": "No model."}
        answer(visitor, job.id, status="failed", **error)
        with visitor.api.unit_of_work() as work:
            work.session.execute(update(Job).where(Job.id == job.id).values(result=None))
    page = visitor.open(f"/jobs/{job.id}")
    expect(page.locator("#answer .notice")).to_have_text(TEXTS[visitor.language][state])
    visitor.check(f"answer-{state}")


def test_wrong_answer_is_labelled(visit: Visit) -> None:
    visitor = visit()
    job = make_job(visitor.user)
    visitor.api.add(job)
    answer(visitor, job.id)
    page = visitor.open(f"/jobs/{job.id}")
    page.locator("#prdtypecode").select_option("10")
    page.locator("#label [type=submit]").click()
    expect(page.locator("#label .notice")).to_contain_text(TEXTS[visitor.language]["labelled"])
    kept = visitor.api.get(Job, job.id)
    assert kept is not None
    assert kept.label == 10


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_category_that_the_release_lacks_is_given_with_keys_alone(
    visit: Visit, scripts: bool
) -> None:
    visitor = visit(Role.OPERATOR, java_script_enabled=scripts)
    texts = TEXTS[visitor.language]
    job = make_job(visitor.user)
    visitor.api.add(job)
    answer(visitor, job.id)
    page = visitor.open(f"/jobs/{job.id}")
    expect(page.locator("#new_code")).not_to_be_visible()
    page.locator("#prdtypecode").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#new_code")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.type("10")
    page.keyboard.press("Enter")
    expect(page.locator("#new_code-mistake")).to_contain_text(texts["has"])
    expect(page.locator("#is_new-mistake")).to_have_text(texts["confirm"])
    expect(page.locator("#new_code")).to_have_value("10")
    expect(page.locator("#new_code")).to_be_focused()
    if scripts:
        visitor.check("label-new-mistake")
    page.locator("#new_code").fill("4711")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator("#label .notice")).to_contain_text(texts["labelled"])
    expect(page.locator("#prdtypecode")).to_have_value("4711")
    if scripts:
        visitor.check("label-new")
    kept = visitor.api.get(Job, job.id)
    assert kept is not None
    assert kept.label == 4711
    visitor.complaints.clear()  # The browser reports the refusal.


def test_product_of_somebody_else_is_a_page_that_says_so(visit: Visit) -> None:
    visitor, other = visit(), visit()
    job = make_job(other.user)
    visitor.api.add(job)
    page = visitor.open(f"/jobs/{job.id}")
    expect(page.get_by_role("heading", level=1)).to_have_text(TEXTS[visitor.language]["missing"])
    visitor.check("not-found")
    visitor.complaints.clear()  # The browser reports the status 404.


def test_product_is_tried_with_keys_alone(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open()
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.locator("#designation")).to_be_focused()
    page.keyboard.type("Piscine g t ?")
    expect(page.locator("#designation")).to_have_value("Piscine g t ?")
    page.keyboard.press("Enter")
    answer(visitor, job_of(page))
    expect(page.locator(".verdict strong")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    visitor.check("shortcuts")
    page.locator("[data-shortcuts-on]").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).not_to_be_visible()


def test_product_is_tried_without_scripts(visit: Visit) -> None:
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/try")
    page.locator("#designation").fill("Piscine")
    page.get_by_role("button", name=TEXTS[visitor.language]["classify"]).click()
    answer(visitor, job_of(page))
    # The page asks again by itself.
    expect(page.locator(".verdict strong")).to_have_text("Piscine et accessoires")


def test_answer_is_not_asked_for_in_a_hidden_tab(visit: Visit) -> None:
    visitor = visit()
    job = make_job(visitor.user)
    visitor.api.add(job)
    asked: list[str] = []
    began = threading.Event()

    def note(request: Any) -> None:
        if "wait=" in request.url:
            asked.append(request.url)
            began.set()

    visitor.page.on("request", note)
    visitor.page.add_init_script(
        "Object.defineProperty(document, 'hidden', {get: () => window.isHidden ?? true})"
    )
    page = visitor.open(f"/jobs/{job.id}")
    page.wait_for_timeout(700)
    assert asked == []
    answer(visitor, job.id)
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(".verdict strong")).to_be_visible()
