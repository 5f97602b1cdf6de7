"""Pages say which products may belong to none of the categories."""

from html import unescape

import pytest

from shared.db.models import Job
from tests.support.answered_catalog import answered_catalog
from tests.unit.gateway.console.conftest import Browser

SENTENCES = {
    "en": "This product may belong to none of the categories",
    "fr": "Ce produit n’appartient peut-être à aucune des catégories",
}


@pytest.fixture
def rows(browser: Browser) -> list[Job]:
    """Return a car part and a pool, both answered as a pool."""
    given = [
        {"designation": "Plaquettes de frein", "confidence": 0.99, "is_foreign": True},
        {"designation": "Piscine", "confidence": 0.99, "is_foreign": False},
    ]
    catalog, *jobs = answered_catalog(browser.user, given)
    browser.api.add(catalog)
    browser.api.add(*jobs)
    return jobs


def text_of(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return unescape(answer.text)


@pytest.mark.parametrize("language", list(SENTENCES))
def test_page_of_a_product_says_that_it_may_be_foreign(
    browser: Browser, rows: list[Job], language: str
) -> None:
    browser.language = language
    foreign, known = (text_of(browser, f"/console/jobs/{row.id}") for row in rows)
    assert SENTENCES[language] in foreign
    assert SENTENCES[language] not in known


def test_list_of_answers_marks_counts_and_finds_foreign_products(
    browser: Browser, rows: list[Job]
) -> None:
    path = f"/console/catalogs/{rows[0].catalog_id}/answers?target=50"
    page = text_of(browser, path)
    assert page.count("May belong to none of the categories") == 1
    assert "1 product may belong to none of the categories and is not accepted" in page
    found = text_of(browser, f"{path}&foreign=yes")
    assert "Plaquettes de frein" in found
    assert "Piscine</a>" not in found


@pytest.mark.parametrize("by", ["", "&by=category"])
def test_catalog_of_foreign_products_alone_has_a_page(browser: Browser, by: str) -> None:
    catalog, *jobs = answered_catalog(browser.user, [{"is_foreign": True}])
    browser.api.add(catalog)
    browser.api.add(*jobs)
    page = text_of(browser, f"/console/catalogs/{catalog.id}/answers?target=50{by}")
    assert "all products may belong to none of the categories" in page
