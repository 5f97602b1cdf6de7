"""Escape cells of CSV files that a spreadsheet would run as formulas.

Source: OWASP, CSV Injection. JSON Lines are not escaped, because no spreadsheet opens them.
"""

import re
import unicodedata

#: The first characters of formulas; other forms of them, such as the full-width ones of Japanese
#: keyboards, are reduced to these by Unicode's compatibility normalization (NFKC).
_FORMULA = frozenset("=+-@")
_CONTROLS = frozenset("\t\r\n")
#: OWASP escapes negative numbers too. They are left as they are, because they are common in
#: prices and cannot run anything, and people sort and sum them.
_NUMBER = re.compile(r"[+-][0-9]+([.,][0-9]+)?")


def safe_cell(text: str) -> str:
    """Prefix a cell that a spreadsheet would run as a formula with `'`; numbers are unchanged."""
    if not text or text[0].isalnum():
        return text
    return f"'{text}" if _is_formula(text) else text


def _is_formula(text: str) -> bool:
    if text[0] in _CONTROLS:
        return True
    first = next((one for one in text if not _is_invisible(one)), "")
    is_begin = unicodedata.normalize("NFKC", first) in _FORMULA
    return is_begin and _NUMBER.fullmatch(text) is None


def _is_invisible(character: str) -> bool:
    # Some spreadsheets remove spaces, byte order marks and zero-width characters of a cell first.
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")
