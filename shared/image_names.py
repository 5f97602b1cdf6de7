"""Find an image by the name that a table gives it: a file name, a path, an address or a number."""

import json
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar
from urllib.parse import unquote, urlsplit

#: Encodings of names in archives without the mark of UTF-8: Windows Explorer and PHP, French.
_OLD_ENCODINGS = ("cp437", "cp850", "cp1252")
_IS_UTF8 = 0x800
_SEPARATORS = re.compile(r"[,;|\n]")
#: A whole number that a spreadsheet or pandas has written as a decimal one.
_DECIMAL = re.compile(r"(?<=\d)\.0+(?=_|\.\w+$|$)")
#: A number whose last digits a spreadsheet has dropped.
SCIENTIFIC = re.compile(r"\d[.,]\d+E\+\d+", re.IGNORECASE)
#: Most items that are told apart under one name; more are not distinguished by case.
MAX_SHARED = 8
_ADDRESS = re.compile(r"^(https?|ftp|file):", re.IGNORECASE)

Item = TypeVar("Item")


def names_of(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the names that a member of an archive may have.

    An archive made by a Mac, PHP or an old Windows does not tell the encoding of its names; each
    that can be meant is returned.
    """
    name = member.filename
    if name.isascii() or member.flag_bits & _IS_UTF8:
        return (name,)
    raw = name.encode("cp437", errors="replace")
    try:
        return (raw.decode(),)
    except UnicodeDecodeError:
        read = (raw.decode(encoding, errors="replace") for encoding in _OLD_ENCODINGS)
        return tuple(dict.fromkeys(read))


def wanted(cell: str) -> Iterator[str]:
    """Yield the names that a cell may mean, the most literal first.

    Of several names in a cell, as shops write them, the first is meant.
    """
    seen: set[str] = set()
    whole = cell.strip()
    firsts = [*_first_of_many(whole)]
    # A file name may have a comma, but the file name of a list of paths is that of the last one.
    for text in (*firsts, whole) if firsts and "/" in whole else (whole, *firsts):
        for name in _spellings(text):
            if name and name not in seen:
                seen.add(name)
                yield name


def _first_of_many(cell: str) -> Iterator[str]:
    if cell.startswith("["):
        try:
            listed = json.loads(cell)
        except (ValueError, RecursionError):
            listed = []
        if isinstance(listed, list) and listed and isinstance(listed[0], str):
            yield listed[0].strip()
    first = next((part.strip() for part in _SEPARATORS.split(cell) if part.strip()), "")
    if first != cell:
        yield first.strip("\"'[] ")


def _spellings(name: str) -> Iterator[str]:
    yield name
    if _ADDRESS.match(name):
        try:
            name = urlsplit(name).path
        except ValueError:
            return
        yield name
    plain = name.partition("?")[0]
    yield plain
    yield unquote(plain)
    yield _DECIMAL.sub("", plain)


class NameIndex(Generic[Item]):
    """Items by path, by file name, and by file name without its suffix.

    Letters are compared by their composed form; case counts only between items that differ in
    nothing else.

    Args:
        is_same: True if two items have the same content, so that either will do.
    """

    def __init__(self, is_same: Callable[[Item, Item], bool]) -> None:
        self._is_same = is_same
        # One entry, or a list where items share a key: half the memory of lists alone.
        self._entries: dict[str, _Entry[Item] | list[_Entry[Item]]] = {}

    def add(self, path: str, item: Item) -> None:
        """Add an item under its path, its file name and its stem."""
        composed = _composed(path)
        entry = composed, item
        for key in _keys(composed):
            known = self._entries.setdefault(key, entry)
            if known is not entry:
                self._entries[key] = self._with(known, entry)

    def find(self, cell: str) -> list[Item]:
        """Return the items that a cell may mean: none, one, or several that share the name."""
        shared: list[Item] = []
        for name in wanted(cell):
            composed = _composed(name)
            for key in _keys(composed):
                found = self._found(key, composed)
                if len(found) == 1:
                    return found
                shared = shared or found
        return shared

    def _with(
        self, known: "_Entry[Item] | list[_Entry[Item]]", entry: "_Entry[Item]"
    ) -> "_Entry[Item] | list[_Entry[Item]]":
        entries = known if isinstance(known, list) else [known]
        if len(entries) < MAX_SHARED and not any(self._is_copy(entry, one) for one in entries):
            return [*entries, entry]
        return known

    def _is_copy(self, entry: "_Entry[Item]", other: "_Entry[Item]") -> bool:
        return entry[0] == other[0] and self._is_same(entry[1], other[1])

    def _found(self, key: str, name: str) -> list[Item]:
        """Return the different items of a key; of twins the one whose case is exact."""
        known = self._entries.get(key)
        if not isinstance(known, list):
            return [known[1]] if known is not None else []
        ends = (name, name.rpartition("/")[2])
        exact = [one for one in known if one[0] == ends[0] or one[0].rpartition("/")[2] == ends[1]]
        found: list[Item] = []
        for _, item in exact or known:
            if not any(self._is_same(item, other) for other in found):
                found.append(item)
        return found


_Entry = tuple[str, Item]


def _keys(path: str) -> tuple[str, ...]:
    name = path.rpartition("/")[2]
    keys = (path, name, f"{_stem(name)}.")
    return tuple(dict.fromkeys(key.casefold() for key in keys))


def _composed(name: str) -> str:
    path = unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")
    return path.lstrip("/") if not path.startswith("//") else path


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and 2 <= len(suffix) <= 4 and suffix.isalnum() else name
