"""Limits and refusals of uploads, in words for people."""

import pytest

from gateway.console.explanations import explain
from gateway.console.file_sizes import file_size
from gateway.console.languages import translations_of
from tests.unit.gateway.console.conftest import Browser


@pytest.mark.parametrize(
    ("size", "english", "french"),
    [
        (900, "0.9 kB", "0,9\u202fko"),
        (20 * 1024, "20 kB", "20\u202fko"),
        (1024**2 * 3 // 2, "1.5 MB", "1,5\u202fMo"),
        (1024**3 - 1, "1 GB", "1\u202fGo"),
        (2 * 1024**3, "2 GB", "2\u202fGo"),
        (5000 * 1024**3, "5,000 GB", "5\u202f000\u202fGo"),
    ],
)
def test_sizes_have_a_unit_that_fits(size: int, english: str, french: str) -> None:
    assert file_size("en", size) == english
    assert file_size("fr", size) == french


def test_import_page_states_a_small_limit_in_its_unit(browser: Browser) -> None:
    limit = file_size("en", browser.api.services.catalogs.settings.max_bytes)
    assert "GB" not in limit
    assert f"at most {limit}." in browser.get("/console/import").text


@pytest.mark.parametrize(
    "message",
    [
        "Expected at most 5 bytes, as announced. Received: 6",
        "Expected at most 20000 pieces. Received: more",
        "No upload 'gone'",
        "Expected an upload of 9 bytes that is complete. Received: one with 5",
        "Expected at most 2 uploads at once that are larger than 1048576 bytes or of unknown size. "
        "Received: one more",
    ],
)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_refusals_of_uploads_are_explained(message: str, language: str) -> None:
    shown = explain(message, language, translations_of(language))
    assert "lang=" not in shown
    assert (shown == explain(message, "en", translations_of("en"))) == (language == "en")


@pytest.mark.parametrize(("language", "word"), [("en", "longer"), ("fr", "n’existe plus")])
def test_refused_piece_of_an_unknown_upload_is_a_sentence(
    browser: Browser, language: str, word: str
) -> None:
    headers = {
        **browser.headers,
        "Accept": "application/json",
        "Accept-Language": language,
        "Upload-Offset": "0",
    }
    response = browser.api.client.patch("/console/uploads/gone", headers=headers, content=b"x")
    assert response.status_code == 404
    assert word in response.json()["detail"]
