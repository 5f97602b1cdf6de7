"""Sizes of files, in a unit that fits."""

from babel.units import format_unit

#: Bytes of each unit, the largest first.
_UNITS = (("gigabyte", 1024**3), ("megabyte", 1024**2), ("kilobyte", 1024))


def file_size(language: str, size: int) -> str:
    """Return a number of bytes such as “1.5 MB”, rounded to a tenth of its unit."""
    # A size that rounds to 1,024 of a unit is 1 of the next larger one.
    fitting = (one for one in _UNITS if round(size * 1024 / one[1], 1) >= 1024)
    name, bytes_of_unit = next(fitting, _UNITS[-1])
    shown = max(0.1, round(size / bytes_of_unit, 1))
    return format_unit(shown, f"digital-{name}", length="short", locale=language)
