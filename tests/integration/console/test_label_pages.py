"""Label files in the browser: rows that are not taken, new categories, with and without scripts."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from shared.db.models import Job, Role, row_job_id
from tests.integration.console.conftest import Visitor
from tests.integration.console.test_catalog_pages import ROWS, add_catalog, id_of

Visit = Callable[..., Visitor]
TEXTS = {
    "en": {
        "empty": "Choose a table that is not empty.",
        "refused": "2 rows were not taken.",
        "unknown": "The release does not have this category.",
        "tick": "tick “The file has new categories” and upload it again",
        "ask": "ask an operator",
        "saved": "3 labels are saved.",
    },
    "fr": {
        "empty": "Choisissez un tableau qui n’est pas vide.",
        "refused": "2 lignes n’ont pas été retenues.",
        "unknown": "La version ne connaît pas cette catégorie.",
        "tick": "cochez « Le fichier contient de nouvelles catégories » et envoyez-le de nouveau",
        "ask": "demandez à un exploitant",
        "saved": "3 corrections sont enregistrées.",
    },
}
#: Two rows have categories that the release does not have.
TABLE = b"row;prdtypecode\n1;10\n2;4711\n3;258\n4;\n"


def upload(visitor: Visitor, content: bytes) -> None:
    file = {"name": "labels.csv", "mimeType": "text/csv", "buffer": content}
    visitor.page.locator("#labels").set_input_files(file)  # type: ignore[arg-type]
    visitor.page.locator("#label-file [type=submit]").click()


def labels(visitor: Visitor, path: str) -> list[int | None]:
    jobs = [visitor.api.get(Job, row_job_id(id_of(path), row)) for row in (1, 2, 3)]
    return [job.label for job in jobs if job is not None]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_reviewer_adds_the_new_categories_of_a_file(visit: Visit, scripts: bool) -> None:
    visitor = visit(Role.OPERATOR, java_script_enabled=scripts)
    texts = TEXTS[visitor.language]
    path = add_catalog(visitor, ROWS)
    page = visitor.open(f"{path}/labels")
    if scripts:
        visitor.check("label-file")
    upload(visitor, b"")
    expect(page.locator("#labels-mistake")).to_have_text(texts["empty"])
    visitor.complaints.clear()  # The browser reports the refusal.
    upload(visitor, TABLE)
    expect(page.get_by_role("alert")).to_have_text(texts["refused"])
    expect(page.locator("#report-place tbody tr")).to_have_count(2)
    expect(page.locator("#report-place tbody tr").first).to_contain_text(texts["unknown"])
    expect(page.locator("#report-place")).to_contain_text(texts["tick"])
    assert labels(visitor, path) == [10, None, None]
    if scripts:
        visitor.check("label-file-unknown")
        assert page.evaluate("document.querySelector('#labels').files.length") == 1
    page.locator("#new_categories").focus()
    page.keyboard.press("Space")
    if scripts:
        page.locator("#label-file [type=submit]").click()
    else:
        upload(visitor, TABLE)
    expect(page.get_by_role("status").first).to_have_text(texts["saved"])
    expect(page.locator("#report-place li")).to_have_count(2)
    expect(page.locator("#new_categories")).to_be_checked()
    assert labels(visitor, path) == [10, 4711, 258]
    if scripts:
        visitor.check("label-file-new")


def test_client_is_told_whom_to_ask_for_a_new_category(visit: Visit) -> None:
    visitor = visit()
    path = add_catalog(visitor, ROWS)
    page = visitor.open(f"{path}/answers")
    page.locator("#tabs a[href$='/labels']").click()
    expect(page.locator("#new_categories")).to_have_count(0)
    upload(visitor, TABLE)
    expect(page.locator("#report-place")).to_contain_text(TEXTS[visitor.language]["ask"])
    visitor.check("label-file-client")
    assert labels(visitor, path) == [10, None, None]
