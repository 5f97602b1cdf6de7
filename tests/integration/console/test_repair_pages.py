"""Repair rejected rows in the browser: their grid, its keys, missing images, and the run."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

from gateway.catalogs.feeder import Feeder
from shared.db.models import Catalog, Job, row_job_id
from tests.integration.console.conftest import Visitor
from tests.integration.console.test_product_pages import png
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    answer_all,
    jobs_of,
    send,
    show,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import feeder

__all__ = ["feeder"]

Visit = Callable[..., Visitor]
LONG = "Piscine " * 300
TABLE = table(
    ("Piscine ronde", "", "1.jpg"),
    (LONG, "Avec pompe", "2.jpg"),
    (LONG, "Sans pompe", "3.jpg"),
    ("", "", "4.jpg"),
    ("Bâche", "Bleue", "5.jpg", "trop"),
    (LONG, "Neuve", ""),
)
TEXTS: dict[str, dict[str, Any]] = {
    "en": {
        "empty": "Nothing to repair: every row was accepted, with its image.",
        "long": re.compile("A text of more than [12],000 characters."),
        "none": "Neither a title nor a description nor an image.",
        "repaired": "repaired",
        "saved": "All changes are saved.",
        "unsaved": "Unsaved changes",
        "not saved": re.compile("^Not saved"),
        "ran": "The repaired rows have run. Their answers are with the others.",
        "run": "Run 2 repaired rows",
        "images": "1 row has its image now.",
        "form": ["2 rows are saved.", "1 row is still wrong."],
        "conflict": "Somebody has changed this row meanwhile. Reload the page to see how.",
        "no failed": "No row has failed.",
        "retried": "The rows have run again, and all have an answer now.",
    },
    "fr": {
        "empty": "Rien à corriger : toutes les lignes ont été acceptées, avec leur image.",
        "long": re.compile("[12]\u202f000 caractères"),
        "none": re.compile("^Ni "),
        "repaired": "corrigée",
        "saved": "Toutes les modifications sont enregistrées.",
        "unsaved": "Modifications non enregistrées",
        "not saved": re.compile("^Non enregistré"),
        "ran": "Les lignes corrigées ont été traitées. Leurs réponses ont rejoint les autres.",
        "run": "Traiter 2 lignes corrigées",
        "images": "1 ligne a maintenant son image.",
        "form": ["2 lignes enregistrées.", "1 ligne est encore incorrecte."],
        "conflict": "Quelqu’un a modifié cette ligne entre-temps. Rechargez la page pour voir la "
        "modification.",
        "no failed": "Aucune ligne en échec.",
        "retried": "Les lignes ont été retraitées ; toutes ont maintenant une réponse.",
    },
}


def imported(visitor: Visitor, running: Feeder, products: bytes = TABLE) -> str:
    """Run a catalog of the visitor to its end, and return its ID."""
    headers = visitor.api.sign(visitor.user)
    id_ = str(send(visitor.api, headers, products)["id"])
    step_until_checked(visitor.api, running, id_)
    end(visitor, running, id_)
    return id_


def end(visitor: Visitor, running: Feeder, id_: str) -> None:
    for _ in range(6):
        running.step()
        answer_all(visitor.api, id_)
    assert show(visitor.api, visitor.api.sign(visitor.user), id_)["status"] == "finished"


def cell(page: Page, row: int, column: str = "designation") -> Locator:
    return page.locator(f"#row-{row} textarea[data-column={column}]")


def problem(page: Page, row: int) -> Locator:
    return page.locator(f"#problem-{row}")


def state(page: Page) -> Locator:
    return page.locator("[data-state]")


def test_catalog_without_a_wrong_row_has_nothing_to_repair(visit: Visit, feeder: Feeders) -> None:
    visitor = visit()
    id_ = imported(visitor, feeder(), table(("Piscine", "", "")))
    page = visitor.open(f"/catalogs/{id_}/repair")
    expect(page.locator("p.empty")).to_have_text(TEXTS[visitor.language]["empty"])
    visitor.check("repair-empty")
    page = visitor.open(f"/catalogs/{id_}/failed")
    expect(page.locator("p.empty")).to_have_text(TEXTS[visitor.language]["no failed"])
    visitor.check("failed-empty")


def test_rows_are_repaired_with_keys_alone_and_run(visit: Visit, feeder: Feeders) -> None:
    visitor, running = visit(), feeder()
    texts = TEXTS[visitor.language]
    id_ = imported(visitor, running)
    page = visitor.open(f"/catalogs/{id_}/repair")
    expect(page.locator("tr[data-row]")).to_have_count(5)
    expect(problem(page, 2)).to_have_text(texts["long"])
    expect(cell(page, 2)).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[data-run]")).not_to_be_visible()
    visitor.check("repair")
    # Enter saves and moves down, Shift and Enter up
    cell(page, 2).focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("Piscine ovale")
    expect(state(page)).to_have_text(texts["unsaved"])
    page.keyboard.press("Enter")
    expect(cell(page, 3)).to_be_focused()
    expect(problem(page, 2)).to_have_text(texts["repaired"])
    expect(state(page)).to_have_text(texts["saved"])
    expect(cell(page, 2)).not_to_have_attribute("aria-invalid", "true")
    page.keyboard.press("Shift+Enter")
    expect(cell(page, 2)).to_be_focused()
    # Tab goes right; a text that is still wrong stays, with its reason
    page.keyboard.press("Tab")
    expect(cell(page, 2, "description")).to_be_focused()
    cell(page, 4).focus()
    page.keyboard.insert_text("x" * 3_000)
    page.keyboard.press("Enter")
    expect(problem(page, 4)).to_have_text(texts["long"])
    visitor.check("repair-still-wrong")
    # Undo and redo work across cells
    page.keyboard.press("Control+z")
    expect(cell(page, 4)).to_have_value("")
    expect(problem(page, 4)).to_have_text(texts["none"])
    page.keyboard.press("Control+z")
    expect(cell(page, 2)).to_have_value(LONG)
    expect(problem(page, 2)).to_have_text(texts["long"])
    page.keyboard.press("Control+y")
    expect(cell(page, 2)).to_have_value("Piscine ovale")
    expect(problem(page, 2)).to_have_text(texts["repaired"])
    # A cell of a row that could not be read is enough
    cell(page, 5).focus()
    page.keyboard.press("End")
    page.keyboard.type(" ronde")
    page.keyboard.press("Enter")
    expect(page.locator("[data-run]")).to_have_text(texts["run"])
    page.locator("[data-run]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#repair-run .busy")).to_be_visible()
    visitor.check("repair-busy")
    end(visitor, running, id_)
    # The rows that have run leave the grid by themselves
    expect(page.locator("tr[data-row]")).to_have_count(3)
    expect(page.locator("#repair-run .notice")).to_have_text(texts["ran"])
    visitor.check("repair-done")
    jobs = {job.id: job.designation for job in jobs_of(visitor.api, id_)}
    assert jobs[row_job_id(id_, 2)] == "Piscine ovale"
    assert jobs[row_job_id(id_, 5)] == "Bâche ronde"
    visitor.open(f"/catalogs/{id_}/repair")
    expect(page.locator("tr[data-row]")).to_have_count(3)


def paste(page: Page, text: str) -> None:
    page.evaluate(
        """text => {
          const data = new DataTransfer();
          data.setData("text/plain", text);
          document.activeElement.dispatchEvent(new ClipboardEvent("paste",
            { clipboardData: data, bubbles: true, cancelable: true }));
        }""",
        text,
    )


def test_pasted_column_fills_downwards_and_a_cell_is_copied(visit: Visit, feeder: Feeders) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    id_ = imported(visitor, feeder())
    page = visitor.open(f"/catalogs/{id_}/repair?reason=text_too_long")
    expect(page.locator("tr[data-row]")).to_have_count(3)
    cell(page, 2).focus()
    paste(page, 'Un\tPremier\r\n"Deux ""2"""\tSecond\r\nTrois\tTroisième\r\n')
    for row, title, description in (
        (2, "Un", "Premier"),
        (3, 'Deux "2"', "Second"),
        (6, "Trois", "Troisième"),
    ):
        expect(cell(page, row)).to_have_value(title)
        expect(cell(page, row, "description")).to_have_value(description)
        expect(problem(page, row)).to_have_text(texts["repaired"])
    # One step undoes the whole paste
    page.keyboard.press("Control+z")
    expect(cell(page, 6)).to_have_value(LONG)
    expect(problem(page, 6)).to_have_text(texts["long"])
    cell(page, 3).fill("Toutes")
    page.keyboard.press("Control+d")
    expect(cell(page, 6)).to_have_value("Toutes")
    expect(cell(page, 2)).to_have_value(LONG)
    expect(problem(page, 6)).to_have_text(texts["repaired"])
    # A single word is pasted as anywhere
    page.reload()
    expect(cell(page, 6)).to_have_value("Toutes")
    expect(cell(page, 2)).to_have_value(LONG)


def test_lost_connection_and_another_person_are_shown(visit: Visit, feeder: Feeders) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    id_ = imported(visitor, feeder())
    page = visitor.open(f"/catalogs/{id_}/repair")
    page.route("**/repair", lambda route: route.abort())
    cell(page, 2).fill("Piscine ovale")
    page.keyboard.press("Enter")
    expect(state(page)).to_have_text(texts["not saved"])
    visitor.check("repair-not-saved")
    page.unroute("**/repair")
    page.locator("[data-save]").click()
    expect(problem(page, 2)).to_have_text(texts["repaired"])
    expect(page.locator("[data-save]")).to_be_enabled()
    # Somebody else changes the next row
    headers = visitor.api.sign(visitor.user)
    change = {"rows": [{"row": 3, "cells": {"designation": "Ailleurs"}}]}
    answer = visitor.api.client.patch(f"/v1/catalogs/{id_}/rows", headers=headers, json=change)
    assert answer.status_code == 200
    cell(page, 3).fill("Ici")
    page.keyboard.press("Enter")
    expect(problem(page, 3)).to_have_text(texts["conflict"])
    visitor.check("repair-conflict")
    page.reload()
    expect(cell(page, 3)).to_have_value("Ailleurs")
    visitor.complaints.clear()  # The browser reports the lost connection.


def test_missing_images_are_added_by_their_names(visit: Visit, feeder: Feeders) -> None:
    visitor, running = visit(), feeder()
    texts = TEXTS[visitor.language]
    id_ = imported(visitor, running)
    page = visitor.open(f"/catalogs/{id_}/repair?show=degraded")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    visitor.check("repair-degraded")
    files: list[FilePayload] = [
        {"name": name, "mimeType": "image/png", "buffer": png()} for name in ("1.png", "9.png")
    ]
    page.locator("#images-field").set_input_files(files)
    page.locator("#images button").click()
    expect(page.locator("[role=status].notice")).to_have_text(texts["images"])
    expect(page.locator("details.notice.warn")).to_be_visible()
    expect(problem(page, 1)).to_contain_text(texts["repaired"])
    visitor.check("repair-images")
    page.locator("[data-run]").click()
    expect(page.locator("#repair-run .busy")).to_be_visible()
    end(visitor, running, id_)
    job = visitor.api.get(Job, row_job_id(id_, 1))
    assert job is not None
    assert visitor.api.services.storage.get(job.image_uri or "") == png()


def test_rows_are_repaired_without_scripts(visit: Visit, feeder: Feeders) -> None:
    visitor, running = visit(java_script_enabled=False), feeder()
    texts = TEXTS[visitor.language]
    id_ = imported(visitor, running)
    page = visitor.open(f"/catalogs/{id_}/repair")
    cell(page, 2).fill("Piscine ovale")
    cell(page, 4).fill("x" * 3_000)
    page.locator("[data-save]").click()
    for number, text in enumerate(texts["form"]):
        expect(page.locator("[role=status].notice").nth(number)).to_have_text(text)
    expect(problem(page, 2)).to_have_text(texts["repaired"])
    expect(cell(page, 4)).to_have_value("x" * 3_000)
    # One cell for all rows with one reason
    page.locator(".pills a[href*=text_too_long]").click()
    page.locator("#column").select_option("designation")
    page.locator("#filling").fill("Piscine")
    page.locator("#fill button").click()
    expect(cell(page, 2)).to_have_value("Piscine")
    expect(cell(page, 6)).to_have_value("Piscine")
    page.locator("[data-run]").click()
    expect(page.locator("#repair-run .busy")).to_be_visible()
    end(visitor, running, id_)
    visitor.open(f"/catalogs/{id_}/repair")
    expect(page.locator("tr[data-row]")).to_have_count(2)


def test_failed_rows_are_retried(visit: Visit, feeder: Feeders) -> None:
    visitor, running = visit(), feeder()
    headers = visitor.api.sign(visitor.user)
    id_ = str(send(visitor.api, headers, table(("Piscine", "", ""), ("Bâche", "", "")))["id"])
    step_until_checked(visitor.api, running, id_)
    running.step()
    failure: dict[str, Any] = {"error_code": "model_failed", "error_message": "The model failed"}
    answer_all(visitor.api, id_, Job.id == row_job_id(id_, 2), status="failed", **failure)
    end(visitor, running, id_)
    page = visitor.open(f"/catalogs/{id_}/failed")
    expect(page.locator("#failed tbody tr")).to_have_count(1)
    visitor.check("failed")
    page.locator("#failed form button").click()
    expect(page.locator("#failed-run .busy")).to_be_visible()
    visitor.check("failed-busy")
    end(visitor, running, id_)
    expect(page.locator("#failed-run .notice")).to_have_text(TEXTS[visitor.language]["retried"])
    visitor.check("failed-done")


@pytest.mark.parametrize("part", ["repair", "failed"])
def test_catalog_of_somebody_else_is_a_page_that_says_so(
    visit: Visit, feeder: Feeders, part: str
) -> None:
    visitor, other = visit(), visit()
    id_ = imported(other, feeder())
    page = visitor.open(f"/catalogs/{id_}/{part}")
    expect(page.locator("main h1")).to_be_visible()
    assert page.locator("tr[data-row]").count() == 0
    assert visitor.api.get(Catalog, id_) is not None
    visitor.complaints.clear()  # The browser reports the status 404.
