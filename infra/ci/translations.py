"""Collect the texts of the console and update its translations: `make translations`.

    python -m infra.ci.translations            updates gateway/console/translations/*.po
    python -m infra.ci.translations --check    fails if a text has no translation

Texts are marked with `_()`, `ngettext()` or `{% trans %}` in templates, and with `N_()` in modules.
A file has the texts of the source in their order, without line numbers, so that it changes only
with them. Translations of removed texts are removed.
"""

import argparse
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from gateway.console.languages import FOLDER, LANGUAGES

CONSOLE = FOLDER.parent
METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None}
_HEADER = "# Translations of the console into {language}. `make translations` adds new texts."


def main() -> int:
    """Update or check the translations. Return the exit code."""
    parser = argparse.ArgumentParser(prog="make translations", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if one lacks")
    is_check = parser.parse_args().check
    lacking = 0
    for language in LANGUAGES[1:]:
        catalog = updated(language)
        for message in untranslated(catalog):
            lacking += 1
            print(f"{language}: no translation of {message.id!r}")  # noqa: T201
        if not is_check:
            path(language).write_bytes(content(catalog))
    return 1 if lacking and is_check else 0


def updated(language: str) -> Catalog:
    """Return the translations with the present texts of the source."""
    known = _known(language)
    found = Catalog(
        locale=language,
        header_comment=_HEADER.format(language=language),
        project="Rayon",
        creation_date=None,
    )
    for file, _, text, comments, _ in extract_from_dir(
        CONSOLE,
        METHODS,
        options_map={"templates/**.html": {"trimmed": "true", "newstyle_gettext": "true"}},
        keywords=KEYWORDS,
    ):
        identity = text if isinstance(text, str) else text[0]
        old = known.get(identity)
        found.add(
            text,
            old.string if old else None,
            locations=[(file, 0)],
            auto_comments=comments,
        )
    return found


def untranslated(catalog: Catalog) -> Iterator[Message]:
    """Yield the texts that lack a translation or one of its plural forms."""
    for message in catalog:
        strings = message.string if isinstance(message.string, (tuple, list)) else [message.string]
        if message.id and (not all(strings) or message.fuzzy):
            yield message


def content(catalog: Catalog) -> bytes:
    """Return the file of a catalog."""
    file = BytesIO()
    write_po(file, catalog, width=100, no_location=True, omit_header=True)
    return file.getvalue()


def path(language: str) -> Path:
    """Return the file of a language."""
    return FOLDER / f"{language}.po"


def _known(language: str) -> Catalog:
    if not path(language).exists():
        return Catalog(locale=language)
    with path(language).open("rb") as file:
        return read_po(file, locale=language)


if __name__ == "__main__":
    sys.exit(main())
