"""Catalogs in the browser: list, progress, answers, labels, the precision dial and files."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from shared.db.models import Catalog, CatalogStatus, Job, now, row_job_id
from shared.storage import PIECE_BYTES
from tests.integration.console.conftest import Visitor
from tests.support.answered_catalog import answered_catalog, failed_row
from tests.support.factories import make_catalog

Visit = Callable[..., Visitor]
TEXTS = {
    "en": {
        "none": "No catalog yet.",
        "checked": "The rows are being checked…",
        "refused": "The file cannot be used.",
        "cancelled": "The catalog is cancelled. Its answers stay.",
        "resumed": "The catalog runs again.",
        "soon": "The first answers come soon…",
        "empty": "This catalog has no answers.",
        "no match": "No row matches.",
        "accepted": "71.4% of the answers are accepted.",
        "review": "2 rows left for review",
        "unreachable": "No selection of the answers reaches this precision",
        "estimate": "estimate",
        "saved": "Saved",
        "wrong": "There is no such category. Choose one of the list.",
        "registry": "The categories cannot be read just now, so answers cannot be corrected.",
        "missing": "There is nothing here",
        "partial": "The catalog still runs: the files contain the 7 answers so far.",
    },
    "fr": {
        "none": "Aucun catalogue pour le moment.",
        "checked": "Les lignes sont en cours de vérification…",
        "refused": "Le fichier est inutilisable.",
        "cancelled": "Le catalogue est annulé. Ses réponses sont conservées.",
        "resumed": "Le catalogue est relancé.",
        "soon": "Les premières réponses arrivent…",
        "empty": "Ce catalogue n’a pas de réponses.",
        "no match": "Aucune ligne ne correspond.",
        "accepted": "71,4\u00a0% des réponses sont acceptées.",
        "review": "2 lignes à vérifier",
        "unreachable": "Aucune sélection de réponses n’atteint cette précision",
        "estimate": "estimation",
        "saved": "Enregistré",
        "wrong": "Cette catégorie n’existe pas. Choisissez-en une dans la liste.",
        "registry": "Les catégories ne peuvent pas être lues pour l’instant",
        "missing": "Page introuvable",
        "partial": "les fichiers contiennent les 7 réponses déjà obtenues.",
    },
}
#: Returns true if the placeholder of a field fits into it.
FITS = """field => {
  field.value = field.placeholder;
  const fits = field.scrollWidth <= field.clientWidth;
  field.value = "";
  return fits;
}"""
#: Five of seven answers are accepted for a precision of 90 %.
ROWS: list[dict[str, Any]] = [
    {
        "designation": "Piscine gonflable ronde pour toute la famille, avec pompe",
        "confidence": 0.99,
    },
    {"designation": "Livre d'été", "prdtypecode": 10, "confidence": 0.97},
    {"designation": "Bâche de piscine", "confidence": 0.94, "degraded": "image_unreadable"},
    {"designation": "Robot de piscine", "confidence": 0.91},
    {"designation": "", "description": "Un livre", "prdtypecode": 10, "confidence": 0.85},
    {"designation": "Chaise de jardin", "confidence": 0.41},
    {"designation": "Table " + "x" * 200, "prdtypecode": 10, "confidence": 0.3},
]


def add_catalog(visitor: Visitor, given: list[dict[str, Any]], **changes: Any) -> str:
    """Add a catalog and return its path."""
    catalog, *jobs = answered_catalog(visitor.user, given, **changes)
    visitor.api.add(catalog)
    visitor.api.add(*jobs)
    return f"/catalogs/{catalog.id}"


def id_of(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def change(visitor: Visitor, path: str, **values: Any) -> None:
    with visitor.api.unit_of_work() as work:
        work.session.execute(update(Catalog).where(Catalog.id == id_of(path)).values(**values))


def titles(page: Page) -> Any:
    return page.locator(".answers > li")


def test_list_begins_empty_and_is_filtered(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    page = visitor.open("/catalogs")
    expect(page.locator(".empty")).to_contain_text(texts["none"])
    visitor.check("catalogs-empty")
    for number, status in enumerate(CatalogStatus):
        counts = {"rows": 60, "fed": 20 * number, "fed_until": 20 * number}
        visitor.api.add(
            make_catalog(visitor.user, name=f"{status.value}.csv", status=status.value, **counts)
        )
    visitor.open("/catalogs")
    expect(page.locator("#catalogs tbody tr")).to_have_count(5)
    visitor.check("catalogs")
    page.locator("#status").select_option("finished")
    page.locator("form[role=search] button").click()
    expect(page.locator("#catalogs tbody tr")).to_have_count(1)
    assert "status=finished" in page.url
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.locator("#catalogs tbody tr")).to_have_count(5)


def test_progress_is_live_until_the_last_row(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    path = add_catalog(visitor, [], status="validating", report={})
    page = visitor.open(path)
    expect(page.locator(".busy")).to_have_text(texts["checked"])
    visitor.check("catalog-checked")
    report = {
        "columns": ["Titre"],
        "used_columns": {"designation": "Titre", "image": "Photo"},
        "unused_columns": ["Prix"],
        "notes": ["No column of titles was found"],
        "warnings": 2,
        "unmatched_images": ["a.jpg", "b.jpg"],
        "unmatched_count": 2,
        "unused_images": [f"{number}.jpg" for number in range(120)],
        "unused_count": 5_000,
        "refused_images": [{"name": "c.exe", "reason": "not an image"}],
        "refused_count": 1,
    }
    running = {"status": "running", "rows": 1_000, "rejected": 10, "fed": 400, "fed_until": 410}
    change(visitor, path, **running, rows_per_second=12.3, report=report, has_images=True)
    expect(page.locator("#progress meter")).to_be_visible()
    expect(page.locator("#cancel")).to_be_visible()
    expect(page.locator("#check")).to_be_visible()
    page.locator("#check summary").nth(1).click()
    visitor.check("catalog-running")
    change(visitor, path, status="finished", fed=990, fed_until=1_000, finished_at=now())
    expect(page.locator("#progress .badge.finished")).to_be_visible()
    expect(page.locator("#cancel")).to_have_count(0)
    visitor.check("catalog-finished")


def test_catalog_is_cancelled_and_resumed_with_its_archive(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    running = {"status": "running", "rows": 10, "fed": 7, "fed_until": 7, "size": 100}
    path = add_catalog(visitor, ROWS, **running, has_images=True)
    page = visitor.open(path)
    page.locator("#cancel summary").click()
    page.locator("#cancel button").click()
    expect(page.get_by_role("status")).to_have_text(texts["cancelled"])
    page.locator("#resume button").click()
    expect(page.locator("#images-mistake")).to_be_visible()
    visitor.check("catalog-cancelled")
    change(visitor, path, has_images=False)
    visitor.open(path)
    page.locator("#resume button").click()
    expect(page.get_by_role("status").first).to_have_text(texts["resumed"])
    visitor.complaints.clear()  # The browser reports the refusal.


def test_file_that_cannot_be_used_says_why(visit: Visit) -> None:
    visitor = visit()
    error = {"error_code": "invalid_input", "error_message": "Expected a table. Received: a film"}
    path = add_catalog(visitor, [], status="failed", rows=0, report={}, **error)
    page = visitor.open(path)
    expect(page.get_by_role("alert")).to_have_text(TEXTS[visitor.language]["refused"])
    visitor.check("catalog-failed")
    visitor.open(f"{path}/answers")
    expect(page.locator(".empty")).to_have_text(TEXTS[visitor.language]["empty"])
    visitor.check("answers-empty")
    visitor.open(f"{path}/files")
    visitor.check("files-empty")


def test_answers_are_busy_until_the_first_one(visit: Visit) -> None:
    visitor = visit()
    path = add_catalog(visitor, [], status="running", rows=10, fed=0, fed_until=0)
    page = visitor.open(f"{path}/answers")
    expect(page.locator(".busy")).to_have_text(TEXTS[visitor.language]["soon"])
    visitor.check("answers-busy")


def test_answers_are_filtered_sorted_and_paged_by_the_address(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    path = add_catalog(visitor, ROWS, rows=8, fed=8, fed_until=8)
    catalog = visitor.api.get(Catalog, id_of(path))
    assert catalog is not None
    visitor.api.add(failed_row(catalog, visitor.user, 8, designation="Tente"))
    page = visitor.open(f"{path}/answers")
    expect(titles(page)).to_have_count(8)
    visitor.check("answers")
    page.keyboard.press("/")
    page.keyboard.type("piscine")
    page.keyboard.press("Enter")
    expect(titles(page)).to_have_count(3)
    page.locator("#sort").select_option("confidence")
    page.locator("#category").select_option("2583")
    page.locator("#answers details summary").click()
    page.locator("#min").fill("92")
    page.locator("form[role=search] button").click()
    expect(titles(page)).to_have_count(2)
    expect(titles(page).first).to_contain_text("Bâche")
    assert "text=piscine" in page.url
    page.go_back()
    expect(titles(page)).to_have_count(3)
    visitor.open(f"{path}/answers?text=nothing")
    expect(page.locator("#answers .empty")).to_have_text(texts["no match"])
    visitor.check("answers-no-match")


def test_answer_is_labelled_in_place(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    path = add_catalog(visitor, ROWS)
    page = visitor.open(f"{path}/answers?text=chaise")
    page.evaluate("window.isTheSame = true")
    row = page.locator(f"#row-{row_job_id(id_of(path), 6)}")
    assert row.locator("input[list]").evaluate(FITS), "the placeholder is not cut"
    row.locator("input[list]").fill("Nowhere")
    row.locator(".correct button").click()
    expect(row.locator(".mistake")).to_have_text(texts["wrong"])
    expect(row.locator("input[list]")).to_be_focused()
    visitor.check("answers-mistake")
    visitor.complaints.clear()  # The browser reports the refusal.
    row.locator("input[list]").fill("livres")
    row.locator("input[list]").press("Enter")
    expect(row.get_by_role("status")).to_have_text(texts["saved"])
    expect(row.locator(".badge.failed")).to_be_visible()
    visitor.check("answers-labelled")
    job = visitor.api.get(Job, row_job_id(id_of(path), 6))
    assert job is not None
    assert job.label == 10
    row.locator(".true button").click()
    expect(row.locator(".badge.failed")).to_have_count(0)
    row.locator(".true button").first.click()
    expect(row.locator(".badge.finished")).to_be_visible()
    job = visitor.api.get(Job, row_job_id(id_of(path), 6))
    assert job is not None
    assert job.label == 2583
    assert page.evaluate("window.isTheSame")


def test_dial_shows_what_is_accepted_and_leads_to_the_rest(visit: Visit) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    path = add_catalog(visitor, ROWS)
    page = visitor.open(f"{path}/answers")
    page.evaluate("window.isTheSame = true")
    page.locator("#target").fill("93")
    expect(page.locator("#dial-result .verdict")).to_contain_text(texts["accepted"])
    expect(page.locator("#dial-result .badge")).to_have_text(texts["estimate"])
    assert "target=93" in page.url
    page.locator("#slider").focus()
    page.keyboard.press("End")
    expect(page.locator("#target")).to_have_value("100")
    expect(page.locator("#dial-result .verdict")).to_contain_text(texts["unreachable"])
    visitor.check("dial-unreachable")
    page.locator("#target").fill("93")
    page.locator(".dial [name=by]").check()
    expect(page.locator(".by-category tbody tr")).to_have_count(2)
    visitor.check("dial-by-category")
    page.locator(".dial [name=by]").uncheck()
    expect(page.locator(".by-category")).to_have_count(0)
    assert page.evaluate("window.isTheSame")
    page.get_by_role("link", name=texts["review"]).click()
    expect(titles(page)).to_have_count(2)
    visitor.check("answers-for-review")


def test_dial_and_labels_work_without_scripts(visit: Visit) -> None:
    visitor = visit(java_script_enabled=False)
    texts = TEXTS[visitor.language]
    path = add_catalog(visitor, ROWS)
    page = visitor.open(f"{path}/answers")
    expect(page.locator("#slider")).not_to_be_visible()
    page.locator("#target").fill("93")
    page.locator(".dial button").click()
    expect(page.locator("#dial-result .verdict")).to_contain_text(texts["accepted"])
    row = page.locator(f"#row-{row_job_id(id_of(path), 6)}")
    row.locator("input[list]").fill("Livres")
    row.locator(".correct button").click()
    expect(row.get_by_role("status")).to_have_text(texts["saved"])
    assert "target=93" in page.url


def test_registry_that_is_away_leaves_the_answers(visit: Visit) -> None:
    visitor = visit()
    path = add_catalog(visitor, ROWS)
    visitor.api.releases.is_down = True
    page = visitor.open(f"{path}/answers")
    expect(page.get_by_role("status").first).to_contain_text(TEXTS[visitor.language]["registry"])
    expect(titles(page)).to_have_count(7)
    visitor.check("answers-registry-down")


def test_files_are_downloaded_with_the_accepted_column(visit: Visit) -> None:
    visitor = visit()
    path = add_catalog(visitor, ROWS, status="running", rows=8)
    table = "designation\n" + "".join(f"{number}\n" for number in range(8))
    storage = visitor.api.services.storage
    storage.put_stream(f"catalogs/{id_of(path)}/products", io.BytesIO(table.encode()))
    page = visitor.open(f"{path}/files?target=93")
    expect(page.locator(".notice.warn")).to_contain_text(TEXTS[visitor.language]["partial"])
    visitor.check("files-partial")
    with page.expect_download() as download:
        page.locator("a[href*='format=csv']").click()
    content = download.value.path().read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert len(content) < PIECE_BYTES
    assert [one["accepted"] for one in rows] == ["true"] * 5 + ["false"] * 2 + [""]
    change(visitor, path, status="finished")
    visitor.open(f"{path}/files")
    expect(page.locator(".notice.warn")).to_have_count(0)
    visitor.check("files")


def test_two_users_at_once_see_only_their_own_catalogs(visit: Visit) -> None:
    one, other = visit(), visit()
    paths = [add_catalog(one, ROWS), add_catalog(other, ROWS[:2])]
    for visitor, path, count in zip((one, other), paths, (7, 2), strict=True):
        page = visitor.open("/catalogs")
        expect(page.locator("#catalogs tbody tr")).to_have_count(1)
        visitor.open(f"{path}/answers")
        expect(titles(page)).to_have_count(count)


@pytest.mark.parametrize("tab", ["", "/answers", "/files"])
def test_catalog_of_somebody_else_is_a_page_that_says_so(visit: Visit, tab: str) -> None:
    visitor, other = visit(), visit()
    page = visitor.open(f"{add_catalog(other, ROWS)}{tab}")
    expect(page.get_by_role("heading", level=1)).to_have_text(TEXTS[visitor.language]["missing"])
    visitor.complaints.clear()  # The browser reports the status 404.
