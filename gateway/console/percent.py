"""Percentages in the address of a page."""


def percent_of(text: str) -> float | None:
    """Return a number from 0 to 100; `None` for another text. A comma is a decimal point too."""
    try:
        found = float(text.replace(",", "."))
    except ValueError:
        return None
    return found if 0 <= found <= 100 else None
