"""Pages of catalogs without a browser: addresses, filters, labels and files."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from shared.db.models import Catalog, Job, Role, row_job_id
from tests.support.answered_catalog import answered_catalog
from tests.support.factories import make_catalog
from tests.unit.gateway.console.conftest import Browser

ROWS: list[dict[str, Any]] = [
    {"designation": "Piscine ronde", "confidence": 0.99},
    {"designation": "Chaise", "confidence": 0.4},
    {"designation": "Livre", "prdtypecode": 10, "confidence": 0.97},
]


def catalog_of(browser: Browser, given: list[dict[str, Any]] = ROWS, **changes: Any) -> str:
    catalog, *jobs = answered_catalog(browser.user, given, **changes)
    browser.api.add(catalog)
    browser.api.add(*jobs)
    assert isinstance(catalog, Catalog)
    return f"/console/catalogs/{catalog.id}"


def rows_of(page: str) -> list[str]:
    return re.findall(r'<p class="title"><a [^>]*>([^<]*)', page)


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("", ["Piscine ronde", "Chaise", "Livre"]),
        ("?sort=confidence", ["Chaise", "Livre", "Piscine ronde"]),
        ("?category=10", ["Livre"]),
        ("?min=50&max=98", ["Livre"]),
        ("?min=50,5", ["Piscine ronde", "Livre"]),
        ("?text=PISCINE", ["Piscine ronde"]),
        ("?target=98&accepted=no&label=none", ["Chaise"]),
        ("?target=98&accepted=yes", ["Piscine ronde", "Livre"]),
        ("?target=98&by=category&accepted=yes", ["Piscine ronde"]),
        ("?status=failed", []),
        # Values that make no sense are left out.
        (
            "?category=x&min=x&max=900&target=x&sort=x&cursor=x&status=x&label=x",
            [
                "Piscine ronde",
                "Chaise",
                "Livre",
            ],
        ),
    ],
)
def test_address_filters_and_sorts_the_answers(
    browser: Browser, query: str, titles: list[str]
) -> None:
    page = browser.get(f"{catalog_of(browser)}/answers{query}")
    assert page.status_code == 200
    assert rows_of(page.text) == titles


def test_list_of_a_catalog_goes_on_from_page_to_page(browser: Browser) -> None:
    path = catalog_of(browser, [{"designation": f"No {row}"} for row in range(60)])
    first = browser.get(f"{path}/answers?sort=-confidence&text=no").text
    (following,) = re.findall(r'href="([^"]*cursor=[^"]*)"', first)
    second = browser.get(following.replace("&amp;", "&")).text
    assert len(rows_of(first)) == 50
    assert len({*rows_of(first), *rows_of(second)}) == 60
    assert "text=no" in following


def label(browser: Browser, path: str, row: int, **form: str) -> Any:
    job_id = row_job_id(path.rsplit("/", 1)[-1], row)
    return browser.post(f"{path}/answers/label", data={"job_id": job_id, **form}), job_id


@pytest.mark.parametrize(("category", "code"), [("10", 10), ("Livres", 10), ("2583", 2583)])
def test_answer_is_labelled_and_the_list_stays(browser: Browser, category: str, code: int) -> None:
    path = catalog_of(browser)
    back = "text=chaise&min=10&evil=1"
    answer, job_id = label(browser, path, 2, category=category, back=back)
    assert answer.status_code == 303
    to = answer.headers["location"]
    assert to == f"{path}/answers?text=chaise&min=10&labelled={job_id}#row-{job_id}"
    job = browser.api.get(Job, job_id)
    assert job is not None
    assert job.label == code
    label(browser, path, 2, act="remove", back="")
    job = browser.api.get(Job, job_id)
    assert job is not None
    assert job.label is None


def test_wrong_category_is_explained_beside_its_row(browser: Browser) -> None:
    path = catalog_of(browser)
    for typed in ("Nowhere <b>", ""):
        answer, job_id = label(browser, path, 2, category=typed, back="text=chaise")
        assert answer.status_code == 422
        assert f'id="{job_id}-mistake"' in answer.text
        assert rows_of(answer.text) == ["Chaise"], "the list stays"
        assert "<b>" not in answer.text
    assert (
        'value="Nowhere &lt;b&gt;"'
        in label(browser, path, 2, category="Nowhere <b>", back="")[0].text
    )


def test_label_of_a_row_of_somebody_else_is_not_found(
    open_browser: Callable[..., Browser],
) -> None:
    owner, other = open_browser(), open_browser(Role.OPERATOR)
    theirs, own = catalog_of(owner), catalog_of(other)
    assert label(other, theirs, 1, category="10", back="")[0].status_code == 404
    job_id = row_job_id(theirs.rsplit("/", 1)[-1], 1)
    answer = other.post(f"{own}/answers/label", data={"job_id": job_id, "category": "10"})
    assert answer.status_code == 404
    job = owner.api.get(Job, job_id)
    assert job is not None
    assert job.label is None


def test_pages_are_rendered_in_french(open_browser: Callable[..., Browser]) -> None:
    browser = open_browser(browser_language="fr")
    path = catalog_of(browser, [*ROWS, {"confidence": 0.9, "label": 10}])
    assert browser.get("/console/catalogs").status_code == 200
    for tab in ("", "/answers?by=category&target=90", "/files"):
        page = browser.get(f"{path}{tab}")
        assert page.status_code == 200
        assert '<html lang="fr">' in page.text


def test_page_survives_a_registry_that_is_away(browser: Browser) -> None:
    path = catalog_of(browser)
    browser.api.releases.is_down = True
    page = browser.get(f"{path}/answers")
    assert page.status_code == 200
    assert "cannot be corrected" in page.text
    assert len(rows_of(page.text)) == 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"status": "running"}, "The first answers come soon…"),
        ({"dry_run": True}, "A dry run has no answers."),
        ({"status": "failed", "rows": 0}, "This catalog has no answers."),
    ],
)
def test_catalog_without_answers_says_why(
    browser: Browser, changes: dict[str, Any], text: str
) -> None:
    assert text in browser.get(f"{catalog_of(browser, [], **changes)}/answers").text


def test_list_of_catalogs_is_filtered_by_status(browser: Browser) -> None:
    browser.api.add(
        make_catalog(browser.user, name="old.csv"),
        make_catalog(browser.user, name="new.csv", status="running"),
    )
    assert "old.csv" in browser.get("/console/catalogs?status=finished").text
    assert "new.csv" not in browser.get("/console/catalogs?status=finished").text
    running = browser.get("/console/catalogs?status=running").text
    assert "new.csv" in running
    assert "data-live" in running
    both = browser.get("/console/catalogs?status=nonsense").text
    assert "old.csv" in both
    assert "new.csv" in both
    assert "No catalog has this status." in browser.get("/console/catalogs?status=failed").text


def test_catalog_is_cancelled_and_resumed(browser: Browser) -> None:
    path = catalog_of(browser, [], status="running", rows=3, fed=0, fed_until=0)
    assert browser.post(f"{path}/cancel").headers["location"] == f"{path}?done=cancel"
    page = browser.get(f"{path}?done=cancel").text
    assert "The catalog is cancelled" in page
    answer = browser.post(f"{path}/resume")
    assert answer.headers["location"] == f"{path}?done=resume"
    assert "data-live" in browser.get(path).text
    again = browser.post(f"{path}/resume")
    assert again.status_code == 409
    assert "there is nothing to resume" in again.text


def test_archive_is_asked_for_again(browser: Browser) -> None:
    path = catalog_of(browser, [], status="cancelled", rows=3, has_images=True)
    answer = browser.post(f"{path}/resume")
    assert answer.status_code == 422
    assert "Send the image archive again" in answer.text
