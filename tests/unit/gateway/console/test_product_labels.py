"""The page of a product labels with categories that the release does not have, and keeps them."""

import re
from collections.abc import Callable

import pytest

from shared.db.models import Job, Role
from tests.support.answered_catalog import answered_catalog
from tests.unit.gateway.console.conftest import Browser

#: A category that no release of the tests has.
NEW_CATEGORY = 987_654


@pytest.fixture
def job(browser: Browser) -> Job:
    """Return an answered product whose label is a new category."""
    return _answered(browser, label=NEW_CATEGORY)


@pytest.fixture(params=[Role.OPERATOR, Role.ADMIN])
def reviewer(request: pytest.FixtureRequest, open_browser: Callable[..., Browser]) -> Browser:
    """Return the browser of each role that may add categories."""
    return open_browser(request.param)


def _answered(browser: Browser, **changes: object) -> Job:
    catalog, row = answered_catalog(browser.user, [changes])
    browser.api.add(catalog)
    browser.api.add(row)
    found: Job = row
    return found


def _label(browser: Browser, job: Job, **fields: str) -> tuple[int, str]:
    """Send the form; return the status and the page."""
    answer = browser.post(f"/console/jobs/{job.id}/label", data=fields)
    return answer.status_code, answer.text


def _kept(browser: Browser, job: Job) -> int | None:
    kept = browser.api.get(Job, job.id)
    assert kept is not None
    return kept.label


def _selected(page: str) -> list[str]:
    return re.findall(r'<option value="(\w*)" selected', page)


def test_label_of_a_new_category_is_shown_as_the_label(browser: Browser, job: Job) -> None:
    page = browser.get(f"/console/jobs/{job.id}").text
    assert _selected(page) == [str(NEW_CATEGORY)]


def test_form_that_is_saved_unchanged_keeps_the_label(browser: Browser, job: Job) -> None:
    fields = {"prdtypecode": str(NEW_CATEGORY), "current": str(NEW_CATEGORY)}
    answer = browser.post(f"/console/jobs/{job.id}/label", data=fields)
    assert answer.status_code == 303
    kept = browser.api.get(Job, job.id)
    assert kept is not None
    assert kept.label == NEW_CATEGORY


def test_label_of_a_new_category_can_be_removed(browser: Browser, job: Job) -> None:
    fields = {"prdtypecode": "", "current": str(NEW_CATEGORY)}
    browser.post(f"/console/jobs/{job.id}/label", data=fields)
    kept = browser.api.get(Job, job.id)
    assert kept is not None
    assert kept.label is None


def test_reviewer_labels_with_a_category_that_the_release_does_not_have(reviewer: Browser) -> None:
    job = _answered(reviewer)
    assert 'name="new_code"' in reviewer.get(f"/console/jobs/{job.id}").text
    fields = {"prdtypecode": "new", "new_code": f" {NEW_CATEGORY} ", "is_new": "yes"}
    assert _label(reviewer, job, **fields)[0] == 303
    assert _kept(reviewer, job) == NEW_CATEGORY


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "This field is needed."),
        ("12a", "A code is a whole number, from 0 to 2,147,483,647."),
        ("-3", "A code is a whole number, from 0 to 2,147,483,647."),
        ("2147483648", "A code is a whole number, from 0 to 2,147,483,647."),
        ("9" * 5_000, "A code is a whole number, from 0 to 2,147,483,647."),
        ("10", "The release has this category: Livres (10). Choose it in the list."),
    ],
)
def test_wrong_code_is_explained_and_kept(
    open_browser: Callable[..., Browser], typed: str, sentence: str
) -> None:
    reviewer = open_browser(Role.OPERATOR)
    job = _answered(reviewer)
    status, page = _label(reviewer, job, prdtypecode="new", new_code=typed, is_new="yes")
    assert status == 422
    assert sentence in page
    assert _selected(page) == ["new"]
    assert f'name="new_code" value="{typed}"' in page
    assert re.search(r'name="is_new" value="yes" checked', page)
    assert _kept(reviewer, job) is None


def test_new_category_has_to_be_confirmed(open_browser: Callable[..., Browser]) -> None:
    reviewer = open_browser(Role.OPERATOR)
    job = _answered(reviewer)
    status, page = _label(reviewer, job, prdtypecode="new", new_code=str(NEW_CATEGORY))
    assert status == 422
    assert "Confirm that the category is new." in page
    assert f'value="{NEW_CATEGORY}"' in page
    assert _kept(reviewer, job) is None


def test_client_sees_no_field_and_adds_no_category(browser: Browser) -> None:
    job = _answered(browser)
    page = browser.get(f"/console/jobs/{job.id}").text
    assert 'value="new"' not in page
    assert "new_code" not in page
    fields = {"prdtypecode": "new", "new_code": str(NEW_CATEGORY), "is_new": "yes"}
    status, page = _label(browser, job, **fields)
    assert status == 403
    assert "Only operators and admins add categories." in page
    assert _kept(browser, job) is None


@pytest.mark.parametrize("choice", ["x", "--5", "9" * 5_000, "4711"])
def test_choice_that_the_list_does_not_have_changes_nothing(browser: Browser, choice: str) -> None:
    job = _answered(browser, label=10)
    status, page = _label(browser, job, prdtypecode=choice)
    assert status == 422
    assert "There is no such category. Choose one of the list." in page
    assert _kept(browser, job) == 10


def test_label_of_a_reviewer_stays_and_the_page_says_why(
    browser: Browser, open_browser: Callable[..., Browser]
) -> None:
    operator = open_browser(Role.OPERATOR).user
    author = {"labelled_by": operator.username, "labelled_by_id": operator.id}
    job = _answered(browser, label=10, **author)
    status, page = _label(browser, job, prdtypecode="2583", current="10")
    assert status == 409
    assert "A reviewer has set another label, which you cannot change." in page
    assert _selected(page) == ["2583"]
    assert _kept(browser, job) == 10


@pytest.mark.parametrize("code", ["--5", "-", "9" * 5_000, "²"])
def test_category_in_an_address_that_makes_no_sense_is_left_out(
    browser: Browser, code: str
) -> None:
    catalog, row = answered_catalog(browser.user, [{}])
    browser.api.add(catalog)
    browser.api.add(row)
    page = browser.get(f"/console/catalogs/{catalog.id}/answers?category={code}")
    assert page.status_code == 200
    assert f'id="row-{row.id}"' in page.text


@pytest.mark.parametrize(("role", "is_led"), [(Role.OPERATOR, True), (Role.CLIENT, False)])
def test_reviewer_is_led_from_an_unknown_category_to_the_form_for_new_ones(
    open_browser: Callable[..., Browser], role: Role, is_led: bool
) -> None:
    browser = open_browser(role)
    catalog, row = answered_catalog(browser.user, [{}])
    browser.api.add(catalog)
    browser.api.add(row)
    fields = {"job_id": row.id, "category": "4711"}
    page = browser.post(f"/console/catalogs/{catalog.id}/answers/label", data=fields).text
    assert "There is no such category." in page
    assert (f'/jobs/{row.id}#label"' in page) is is_led
