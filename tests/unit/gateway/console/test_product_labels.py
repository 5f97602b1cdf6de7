"""The page of a product keeps a label whose category the release does not have."""

import re

import pytest

from shared.db.models import Job
from tests.support.answered_catalog import answered_catalog
from tests.unit.gateway.console.conftest import Browser

#: A category that no release of the tests has.
NEW_CATEGORY = 987_654


@pytest.fixture
def job(browser: Browser) -> Job:
    """Return an answered product whose label is a new category."""
    catalog, row = answered_catalog(browser.user, [{"label": NEW_CATEGORY}])
    browser.api.add(catalog)
    browser.api.add(row)
    found: Job = row
    return found


def _selected(page: str) -> list[str]:
    return re.findall(r'<option value="(\d*)" selected', page)


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
