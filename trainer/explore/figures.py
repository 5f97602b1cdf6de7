"""Writes numbers for people; the name of a column says what its numbers are."""

import numbers

import pandas as pd

#: A narrow space that does not break, between thousands.
_THIN = "\u202f"


def figure(value: object, name: str) -> str:
    """Write a value of a column: a percentage if it is a share; thousands apart.

    >>> figure(0.1234, "share"), figure(84916, "products"), figure(7.5, "median")
    ('12.3\u202f%', '84\u202f916', '7.5')
    """
    if not isinstance(value, numbers.Real):
        return str(value)
    if pd.isna(float(value)):
        return "–"
    if "share" in name:
        return f"{100.0 * float(value):.1f}{_THIN}%"
    if float(value).is_integer():
        return f"{int(float(value)):,}".replace(",", _THIN)
    return f"{float(value):,.1f}".replace(",", _THIN)


def heading(name: str) -> str:
    """A column's name as the heading of a table.

    >>> heading("share_without_description")
    'Share without description'
    """
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]
