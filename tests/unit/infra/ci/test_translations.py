"""Tests of the translations of the console."""

import re

import pytest

from gateway.console.languages import LANGUAGES, language_of, translations_of
from infra.ci.translations import content, path, untranslated, updated

OTHERS = LANGUAGES[1:]


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_of_the_console_is_translated(language: str) -> None:
    assert [message.id for message in untranslated(updated(language))] == []


@pytest.mark.parametrize("language", OTHERS)
def test_file_has_the_texts_of_the_source_and_no_others(language: str) -> None:
    assert path(language).read_bytes() == content(updated(language))


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_placeholders_of_their_text(language: str) -> None:
    for message in updated(language):
        ids = message.id if isinstance(message.id, (tuple, list)) else [message.id]
        strings = message.string if isinstance(message.string, (tuple, list)) else [message.string]
        # A singular may do without its number: "the first row".
        singulars = list(ids)
        for number, string in enumerate(strings):
            wanted = singulars if number == 0 else ids[-1:]
            assert _placeholders(string or "") in [_placeholders(one) for one in wanted]


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)s", text))


def test_untranslated_text_is_found() -> None:
    catalog = updated("fr")
    catalog.add("A new text", "")
    assert [message.id for message in untranslated(catalog)] == ["A new text"]


@pytest.mark.parametrize(
    ("account", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "fr-FR,fr;q=0.9,en;q=0.8", "fr"),
        (None, "de-DE,de;q=0.9,fr;q=0.5,en;q=0.3", "fr"),
        (None, "en;q=0.5,fr;q=0.9", "fr"),
        (None, "fr;q=0", "en"),
        (None, "fr;q=wrong, *", "en"),
        ("fr", "en", "fr"),
        ("en", "fr", "en"),
    ],
)
def test_language_is_that_of_the_account_then_of_the_browser(
    account: str | None, accepted: str, language: str
) -> None:
    assert language_of(account, accepted) == language


def test_plural_forms_follow_the_language() -> None:
    french = translations_of("fr")
    forms = [
        french.ngettext("after %(num)s day", "after %(num)s days", number) for number in (0, 1, 2)
    ]
    assert forms[0] == forms[1] != forms[2]
