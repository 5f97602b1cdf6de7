"""Languages of the console, and their translations.

English is the language of the source. `make translations` collects the texts of templates and
modules into `translations/LANGUAGE.po`, which people translate; the files are read at start.
"""

from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

from babel import negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

#: The first is the language of the source.
LANGUAGES = ("en", "fr")
#: Name of each language in itself.
NAMES = {"en": "English", "fr": "Français"}
FOLDER = Path(__file__).with_name("translations")
#: Longest `Accept-Language` header that is read, in characters.
LONGEST_HEADER = 200


def language_of(account: str | None, accepted: str) -> str:
    """Return the language of a page: that of the account, else one that the browser accepts.

    Args:
        account: The language of the signed-in account, if it has one.
        accepted: The header `Accept-Language` (RFC 9110, section 12.5.4).
    """
    preferred = [account] if account else []
    found = negotiate_locale([*preferred, *_accepted(accepted)], LANGUAGES, sep="-")
    return found or LANGUAGES[0]


@cache
def translations_of(language: str) -> NullTranslations:
    """Return the translations into a language; none are needed for English."""
    if language == LANGUAGES[0]:
        return NullTranslations()
    with (FOLDER / f"{language}.po").open("rb") as file:
        catalog = read_po(file, locale=language)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(fp=compiled)


def _accepted(header: str) -> Iterator[str]:
    """Yield the languages of the header, the most preferred first."""
    weighted = []
    for part in header[:LONGEST_HEADER].split(","):
        name, _, parameter = part.partition(";")
        try:
            weight = float(parameter.partition("=")[2] or 1)
        except ValueError:
            continue
        if weight > 0 and name.strip():
            weighted.append((-weight, name.strip()))
    for _, name in sorted(weighted, key=lambda one: one[0]):
        yield name
