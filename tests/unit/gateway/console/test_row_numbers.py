"""Places of rows in pages: the line of the file, or words that cannot be taken for one."""

import re
from collections.abc import Callable

import pytest

from shared.db.models import Job, JobStatus, row_job_id
from tests.support.answered_catalog import answered_catalog
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    jobs_of,
    send,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import feeder
from tests.unit.gateway.console.conftest import Browser

__all__ = ["feeder"]

#: The second product is in line 4, because the first takes two lines after the header.
TABLE = table(("Piscine", "Ronde\navec pompe", ""), ("x" * 2_001, "", ""), ("Bâche", "", ""))
WORDS = {
    "en": ("Line", "line 4", "Product 2", "Product 1"),
    "fr": ("Ligne", "ligne 4", "Produit n°\u00a02", "Produit n°\u00a01"),
}
languages = pytest.mark.parametrize("language", WORDS)


def checked(browser: Browser, feeder: Feeders) -> str:
    running = feeder()
    id_ = str(send(browser.api, browser.api.sign(browser.user), TABLE)["id"])
    step_until_checked(browser.api, running, id_)
    running.step()
    return id_


@languages
def test_rows_to_repair_have_the_line_of_the_file(
    open_browser: Callable[..., Browser], feeder: Feeders, language: str
) -> None:
    heading, line, product, _ = WORDS[language]
    browser = open_browser(browser_language=language)
    id_ = checked(browser, feeder)
    page = browser.get(f"/console/catalogs/{id_}/repair").text
    assert f'<th scope="col" class="figure">{heading}</th>' in page
    assert re.search(rf'<th scope="row" class="figure" title="{product}">4<', page)
    assert f'aria-label="designation, {line}"' in page


@languages
def test_failed_rows_have_the_line_of_the_file(
    open_browser: Callable[..., Browser], feeder: Feeders, language: str
) -> None:
    heading, _, _, product = WORDS[language]
    browser = open_browser(browser_language=language)
    id_ = checked(browser, feeder)
    with browser.api.unit_of_work() as work:
        job = work.session.get(Job, jobs_of(browser.api, id_)[0].id)
        assert job is not None
        job.status, job.error_code, job.error_message = JobStatus.FAILED.value, "failed", "No"
    page = browser.get(f"/console/catalogs/{id_}/failed").text
    assert f'<th scope="col" class="figure">{heading}</th>' in page
    assert f'<th scope="row" class="figure" title="{product}">2</th>' in page


@languages
def test_answers_without_a_line_name_the_product(
    open_browser: Callable[..., Browser], language: str
) -> None:
    browser = open_browser(browser_language=language)
    catalog, *jobs = answered_catalog(browser.user, [{}, {}])
    browser.api.add(catalog)
    browser.api.add(*jobs)
    page = browser.get(f"/console/catalogs/{catalog.id}/answers").text
    item = page[page.index(f'<li id="row-{row_job_id(catalog.id, 2)}"') :]
    assert f'<p class="hint">{WORDS[language][2]}</p>' in item
    assert not re.search("row 2|Row 2|[Ll]igne 2", item)
