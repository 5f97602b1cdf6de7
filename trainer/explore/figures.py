"""Formats numbers for people; the column name determines the format."""

import numbers

import pandas as pd

#: Narrow no-break space, used as the thousands separator.
_THIN = "\u202f"


def figure(value: object, name: str) -> str:
    """Format a column's value: shares as percentages, other numbers with thousands separators.

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
    """Turn a column's name into a table heading.

    >>> heading("share_without_description")
    'Share without description'
    """
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]
