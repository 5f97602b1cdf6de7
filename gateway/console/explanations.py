"""Sentences for people in place of messages of the API, which address programmers.

A message that is not in the table is shown as it is, in English.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from babel.numbers import format_decimal
from babel.support import NullTranslations
from markupsafe import Markup

from gateway.console.file_sizes import file_size
from gateway.console.menu import N_

#: Values of a message in the form in which people read them.
Shown = Callable[[str, str], str]


def _number(value: str, language: str) -> str:
    return str(format_decimal(int(value), locale=language))


def _text(value: str, language: str) -> str:
    del language
    return value


def _size(value: str, language: str) -> str:
    return file_size(language, int(value))


@dataclass(frozen=True)
class _Explanation:
    pattern: re.Pattern[str]
    text: str
    values: Mapping[str, Shown]


def _when(pattern: str, text: str, **values: Shown) -> _Explanation:
    return _Explanation(re.compile(pattern), text, values)


#: The first whose pattern matches the whole message explains it.
_TABLE = (
    _when(
        r"Expected at most (?P<most>\d+) explanations in progress\. .*",
        N_("%(most)s of your answers are being explained. Try again in a few seconds."),
        most=_number,
    ),
    _when(
        r"The workers explain as many answers as they may at once",
        N_("Many answers are being explained now. Try again in a few seconds."),
    ),
    _when(
        r"The message queue does not answer, so nothing can be explained now",
        N_("The queue does not answer, so nothing can be explained now."),
    ),
    _when(
        r"The product of job '.*' was deleted, so nothing is left to explain",
        N_("The product was deleted, so nothing is left to explain."),
    ),
    _when(
        r"The workers were too busy to explain it in time",
        N_("The workers were too busy to explain it in time."),
    ),
    _when(
        r"Expected a `designation`, a `description` or an `image`\. .*",
        N_("Type a title or a description, or choose an image."),
    ),
    _when(
        r"Expected at most (?P<most>\d+) readable characters in `\w+`\. Received: (?P<count>\d+)",
        N_("This text has %(count)s characters; at most %(most)s are read."),
        most=_number,
        count=_number,
    ),
    _when(
        r"Expected an image of at most (?P<size>\d+) bytes\. .*",
        N_("The image is larger than %(size)s."),
        size=_size,
    ),
    _when(r"Expected a body of at most .*", N_("The image and the texts are too large together.")),
    _when(r"Expected an image \(.*\)\. Received: an empty file", N_("The file is empty.")),
    _when(r"Expected a value\. .*", N_("This field is needed.")),
    _when(r"Expected at least 1 entries\. .*", N_("Tick at least one.")),
    _when(r"Expected at least 1 characters\. .*", N_("This field is needed.")),
    _when(
        r"Expected (a password of 8 to 128|at least 8|at most 128) characters.*",
        N_("A password has 8 to 128 characters."),
    ),
    _when(
        r"Expected a password that is hard to guess\. .*",
        N_("This password is too common or too close to the username."),
    ),
    _when(r"The current password is wrong", N_("The current password is wrong.")),
    _when(
        r"The code is invalid or has expired\. .*",
        N_("The code is wrong or has expired. Ask an admin for a new one."),
    ),
    _when(
        r"Expected a new username\. .*",
        N_("This username is taken. Choose another one."),
    ),
    _when(
        r"Expected a username that does not look like one of Rayon's own\. .*",
        N_("This username is reserved. Choose another one."),
    ),
    _when(
        r"Expected text that matches `\^\[A-Za-z0-9\].*",
        N_(
            "Letters without accents, digits and . _ @ - are allowed; begin with a letter or digit."
        ),
    ),
    _when(
        r".* is the last active admin\. .*",
        N_("This is the last active admin. Make somebody else an admin first."),
    ),
    _when(
        r"Expected at most (?P<most>\d+) API keys\. .*",
        N_("An account has at most %(most)s API keys. Revoke one first."),
        most=_number,
    ),
)


#: Sentences about catalogs.
_CATALOGS = (
    _when(
        r"Expected a category of the catalog's release\. .*",
        N_("The release does not have this category."),
    ),
    _when(
        r"Expected a category of the catalog's release, or the code of a new one\. .*",
        N_("The release does not have this category, and it is no code."),
    ),
    _when(
        r"Expected one label for row (?P<row>\d+)\. Received: (?P<code>\d+) before",
        N_("Product %(row)s has another label in this file: %(code)s."),
        row=_number,
        code=_text,
    ),
    _when(
        r"Expected a row (number from 1|of the catalog with a job)\. .*",
        N_("The catalog has no answer with this number."),
    ),
    _when(r"Expected a job of this catalog\. .*", N_("This catalog has no product with this ID.")),
    _when(
        r"Expected a product of exactly one row\. Received: no row with .*",
        N_("No product of the catalog has this number."),
    ),
    _when(
        r"Expected a product of exactly one row\. Received: (?P<count>\d+) rows with .*",
        N_("%(count)s products of the catalog have this number. Use the column “row”."),
        count=_number,
    ),
    _when(
        r"Expected the column `prdtypecode` or `category`, and one of .*",
        N_(
            "The table needs a column “prdtypecode” or “category”, and “row”, “productid” or "
            "“job_id” to find the products."
        ),
    ),
    _when(
        r"The catalog('s file has been deleted, so its| has no column) `productid`.*",
        N_("The column “productid” of the catalog is not known. Use the column “row”."),
    ),
    _when(
        r"Expected a file as `labels`\. .*",
        N_("Choose a table that is not empty."),
    ),
    _when(
        r"Only operators and admins add categories",
        N_("Only operators and admins add categories."),
    ),
    _when(
        r"Expected a code from 0 to (?P<most>\d+)\. .*",
        N_("A code is a whole number, from 0 to %(most)s."),
        most=_number,
    ),
    _when(
        r"Expected a code that the release lacks\. Received: (?P<code>\d+), (?P<name>.*)",
        N_("The release has this category: %(name)s (%(code)s). Choose it in the list."),
        code=_text,
        name=_text,
    ),
    _when(
        r"Expected the confirmation that the category is new\. .*",
        N_("Confirm that the category is new."),
    ),
    _when(
        r"Expected a (category of the release|code of release .*)\. Received: .*",
        N_("There is no such category. Choose one of the list."),
    ),
    _when(r"Expected a category\. .*", N_("Choose a category.")),
    _when(
        r"A reviewer has set another label, which you cannot change",
        N_("A reviewer has set another label, which you cannot change."),
    ),
    _when(
        r"No column of titles or descriptions was found",
        N_("No column of titles or descriptions was found."),
    ),
    _when(r"No column of titles was found", N_("No column of titles was found.")),
    _when(
        r"Rows that name an image: (?P<count>\d+), but no ZIP archive was sent",
        N_("Rows that name an image: %(count)s, but no image archive was sent."),
        count=_number,
    ),
    _when(
        r"A ZIP archive was sent, but no column names images",
        N_("An image archive was sent, but no column names images."),
    ),
    _when(
        r"Rows with numbers such as 3\.80E\+09: (?P<count>\d+)\..*",
        N_(
            "Rows with numbers such as 3.80E+09: %(count)s. The spreadsheet has dropped their last "
            "digits. Format these columns as text, and export the table again."
        ),
        count=_number,
    ),
    _when(
        r"The table is not in UTF-8; it was read as (?P<name>.+)",
        N_("The table is not in UTF-8. It was read as %(name)s."),
        name=_text,
    ),
    _when(
        r"Expected the image archive again, .*",
        N_("Send the image archive again: it was deleted when the catalog was cancelled."),
    ),
    _when(
        r"Expected the archive that was sent first\. .*",
        N_("This is not the archive that was sent first."),
    ),
    _when(
        r"The file of this catalog has been deleted\. .*",
        N_("The file of this catalog has been deleted. Send it as a new catalog."),
    ),
    _when(
        r"Expected a cancelled catalog\. .*",
        N_("This catalog is not cancelled, so there is nothing to resume."),
    ),
    _when(r"No row of this catalog was cancelled", N_("No row of this catalog was cancelled.")),
)

#: Sentences about the files of an import, and the reasons for rejecting rows.
_IMPORTS = (
    _when(
        r"Expected a column .*\. Received the columns: .*",
        N_("No column is recognised. Choose below which column is which."),
    ),
    _when(
        r"Expected a file as `products`\. .*|Expected a header and rows\. Received: an empty file",
        N_("Choose a table that is not empty."),
    ),
    _when(
        r"Expected (a header and|at least one row).*",
        N_("The table has no rows below its header."),
    ),
    _when(
        r"Expected (CSV, JSON Lines or an Excel workbook|a table that can be read)\. .*",
        N_("This file is no table. Save it as “CSV UTF-8” or as an Excel workbook."),
    ),
    _when(r"Expected a ZIP archive\. .*", N_("The images are not in a ZIP archive.")),
    _when(
        r"Expected at most (?P<most>\d+) rows\. Received: more",
        N_("The table has more than %(most)s rows. Divide it."),
        most=_number,
    ),
    _when(
        r"Choose the column of the titles, .*",
        N_("Choose the column of the titles, of the descriptions or of the images."),
    ),
    _when(
        r"Expected a file of at most (?P<size>\d+) bytes\. .*",
        N_("The file is larger than %(size)s."),
        size=_size,
    ),
    _when(
        r"Expected at most \d+ uploads in pieces at once\. .*",
        N_("Too many uploads were begun. Wait until one has ended, or until tomorrow."),
    ),
    _when(
        r"Expected at most \d+ uploads at once that are larger .*",
        N_("Too many large files are being uploaded at once. Wait until one has ended."),
    ),
    _when(
        r"Expected at most \d+ bytes, as announced\. .*",
        N_("The file has changed since its upload began. Choose it again."),
    ),
    _when(
        r"Expected at most \d+ pieces\. .*",
        N_("The upload was interrupted too often. Upload the file again."),
    ),
    _when(
        r"No upload '.*'|Expected an upload of \d+ bytes that is complete\. .*",
        N_("The upload is no longer there or is not complete. Upload the file again."),
    ),
    _when(
        r"Expected at most \d+ stored bytes\. .*",
        N_("Your files take all the space that an account has."),
    ),
    _when(
        r"Expected at most \d+ (unfinished|bytes of unfinished) .*",
        N_("Too many of your catalogs still run. Wait until one has ended."),
    ),
    _when(
        r"Expected a title, a description or an image\..*",
        N_("Neither a title nor a description nor an image."),
    ),
    _when(
        r"Expected at most (?P<most>\d+) readable characters\..*",
        N_("A text of more than %(most)s characters."),
        most=_number,
    ),
    _when(
        r"Expected (?P<most>\d+) cells\..*",
        N_("Not %(most)s cells, as the header has."),
        most=_number,
    ),
    _when(r"Expected a row of at most 1 MiB\..*", N_("A row of more than 1 MB.")),
    _when(
        r"Expected a closing quote at the end of the cell\..*", N_("A quote that is never closed.")
    ),
    _when(r"Other reasons", N_("Other reasons.")),
    _when(
        r"(Expected a draft|The draft was changed).*",
        N_("The import has changed meanwhile. Look at it again."),
    ),
    _when(
        r"Expected a row that can be classified\..*",
        N_("No row can be classified with these columns."),
    ),
)

#: Sentences about the repair of rows.
_REPAIR = (
    _when(
        r"Expected version \d+ of the row, .*",
        N_("Somebody has changed this row meanwhile. Reload the page to see how."),
    ),
    _when(
        r"The row is being classified; .*", N_("This row is being classified. Wait for its answer.")
    ),
    _when(
        r"Expected a rejected, failed or degraded row\. .*",
        N_("This row has an answer or does not exist any more."),
    ),
    _when(r"No repaired row is ready to run", N_("No repaired row is ready.")),
    _when(r"Expected files as `images`\. .*", N_("Choose at least one image.")),
    _when(r"Expected a title or a description\. .*", N_("Type a title or a description.")),
    _when(r"Expected an image: .*", N_("Add the image.")),
    _when(r"Expected a row of at most \d+ characters\. .*", N_("A row of more than 1 MB.")),
    _when(r"Expected a (JSON object in line|row of CSV).*", N_("This row cannot be read.")),
)


def explain(message: str, language: str, translations: NullTranslations) -> str | Markup:
    """Return a message for people, in their language if it is known."""
    for one in (*_TABLE, *_CATALOGS, *_IMPORTS, *_REPAIR):
        if found := one.pattern.fullmatch(message):
            values = {name: show(found[name], language) for name, show in one.values.items()}
            text = translations.ugettext(one.text)
            return text % values if values else text
    return Markup('<span lang="en">{}</span>').format(message)
