"""The page of label files: what was taken, what was not, and why."""

from collections.abc import Callable

import pytest

from shared.db.models import Catalog, Job, Role, row_job_id
from tests.support.answered_catalog import answered_catalog
from tests.unit.gateway.console.conftest import Browser

#: A category that no release of the tests has.
NEW_CATEGORY = 987_654


def _catalog(browser: Browser, **changes: object) -> str:
    """Add a catalog of three answered products and return its ID."""
    catalog, *rows = answered_catalog(browser.user, [{}, {}, {}], **changes)
    browser.api.add(catalog)
    browser.api.add(*rows)
    found: Catalog = catalog
    return found.id


def _send(browser: Browser, catalog: str, table: str, **fields: str) -> tuple[int, str]:
    """Send a label file; return the status and the page."""
    answer = browser.post(
        f"/console/catalogs/{catalog}/labels",
        data=fields,
        files={"labels": ("labels.csv", table.encode())},
    )
    return answer.status_code, answer.text


def _labels(browser: Browser, catalog: str) -> list[int | None]:
    jobs = [browser.api.get(Job, row_job_id(catalog, row)) for row in (1, 2, 3)]
    return [job.label for job in jobs if job is not None]


def test_labels_are_saved_and_other_rows_named_by_their_line(browser: Browser) -> None:
    catalog = _catalog(browser)
    table = f"row,prdtypecode\n1,10\n2,{NEW_CATEGORY}\n9,10\n3,\n"
    status, page = _send(browser, catalog, table)
    assert status == 200
    assert "1 label is saved." in page
    assert "2 rows were not taken." in page
    assert "1 row has no label and was left out." in page
    assert (
        f'<th scope="row" class="figure">3</th><td>prdtypecode</td><td class="hash">{NEW_CATEGORY}'
        in page
    )
    assert "The release does not have this category." in page
    assert "The catalog has no answer with this number." in page
    assert "ask an operator" in page
    assert _labels(browser, catalog) == [10, None, None]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_reviewer_adds_the_new_categories_of_a_file(
    open_browser: Callable[..., Browser], role: Role
) -> None:
    reviewer = open_browser(role)
    catalog = _catalog(reviewer)
    table = f"row,prdtypecode\n1,10\n2,{NEW_CATEGORY}\n"
    page = _send(reviewer, catalog, table)[1]
    assert "tick “The file has new categories”" in page
    assert _labels(reviewer, catalog) == [10, None, None]
    page = _send(reviewer, catalog, table, new_categories="true")[1]
    assert "2 labels are saved." in page
    assert f"<code>{NEW_CATEGORY}</code> 1 row" in page
    assert "checked" in page
    assert _labels(reviewer, catalog) == [10, NEW_CATEGORY, None]


def test_new_category_without_a_code_is_refused(open_browser: Callable[..., Browser]) -> None:
    reviewer = open_browser(Role.OPERATOR)
    catalog = _catalog(reviewer)
    page = _send(reviewer, catalog, "row,category\n1,Drones\n", new_categories="true")[1]
    assert "The release does not have this category, and it is no code." in page
    assert "a new category needs its code" in page
    assert _labels(reviewer, catalog) == [None, None, None]


def test_client_sees_no_choice_and_adds_no_category(browser: Browser) -> None:
    catalog = _catalog(browser)
    assert "new_categories" not in browser.get(f"/console/catalogs/{catalog}/labels").text
    table = f"row,prdtypecode\n1,{NEW_CATEGORY}\n"
    status, page = _send(browser, catalog, table, new_categories="true")
    assert status == 403
    assert "Only operators and admins add categories." in page
    assert _labels(browser, catalog) == [None, None, None]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("", "Choose a table that is not empty."),
        ("row,prdtypecode\n", "The file has no labels."),
        ("Titre\nPiscine\n", "The table needs a column “prdtypecode” or “category”"),
        ("row,prdtypecode\n1,10\n1,2583\n", "Product 1 has another label in this file: 10."),
        ("productid,prdtypecode\n7,10\n", "Use the column “row”."),
        ("job_id,prdtypecode\nx,10\n", "This catalog has no product with this ID."),
    ],
)
def test_file_that_cannot_be_used_is_explained(
    open_browser: Callable[..., Browser], table: str, sentence: str
) -> None:
    reviewer = open_browser(Role.OPERATOR)
    page = _send(reviewer, _catalog(reviewer), table, new_categories="true")[1]
    assert sentence in page
    assert (
        'name="new_categories" value="true" aria-describedby="new_categories-hint" checked' in page
    )


def test_catalog_of_somebody_else_is_not_found(
    browser: Browser, open_browser: Callable[..., Browser]
) -> None:
    catalog = _catalog(open_browser())
    assert browser.get(f"/console/catalogs/{catalog}/labels").status_code == 404
    assert _send(browser, catalog, "row,prdtypecode\n1,10\n")[0] == 404


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dry_run": True}, "A dry run has no answers."),
        ({"status": "validating"}, "The rows are being checked…"),
    ],
)
def test_catalog_without_answers_has_no_form(
    browser: Browser, changes: dict[str, object], sentence: str
) -> None:
    catalog = _catalog(browser, **changes)
    page = browser.get(f"/console/catalogs/{catalog}/labels").text
    assert sentence in page
    assert 'name="labels"' not in page
