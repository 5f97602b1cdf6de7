"""Words of a product that are left out together to explain an answer."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.readable import readable

_NOT_IN_WORDS = re.compile(r"\W+")


@dataclass(frozen=True)
class Word:
    """A word of a field as it is written, and the part to which it belongs; `None` for signs."""

    text: str
    part: int | None


@dataclass(frozen=True)
class Words:
    """The words of a product's title and description."""

    designation: tuple[Word, ...]
    description: tuple[Word, ...]
    parts: int

    def without(self, part: int | None) -> tuple[str, str]:
        """Return title and description without the words of a part."""
        fields = (self.designation, self.description)
        title, body = (
            " ".join(word.text for word in field if part is None or word.part != part)
            for field in fields
        )
        return title, body


def words_of(designation: str, description: str, most_parts: int) -> Words:
    """Divide the words of a product into at most so many parts.

    Equal words are one part, wherever they are: a model that finds a word a second time would
    otherwise seem not to need it. If there are too many, half of the parts are the first words of
    the title, and the other words are divided into consecutive groups.
    """
    fields = [readable(text).split() for text in (designation, description)]
    keys = [[_NOT_IN_WORDS.sub("", word).casefold() for word in field] for field in fields]
    different = list(dict.fromkeys(key for field in keys for key in field if key))
    if len(different) <= most_parts:
        named = {key: part for part, key in enumerate(different)}
        groups = 0
    else:
        title = dict.fromkeys(key for key in keys[0] if key)
        named = {key: part for part, key in enumerate([*title][: most_parts // 2])}
        groups = most_parts - len(named)
    parts = _parts(keys, named, groups)
    words = [tuple(Word(text, next(parts)) for text in field) for field in fields]
    return Words(words[0], words[1], len(named) + groups)


def _parts(
    keys: Sequence[Sequence[str]], named: dict[str, int], groups: int
) -> Iterator[int | None]:
    """Yield the part of each word, in order."""
    left = sum(1 for field in keys for key in field if key and key not in named)
    seen = 0
    for key in (key for field in keys for key in field):
        if not key:
            yield None
        elif key in named:
            yield named[key]
        else:
            yield len(named) + seen * groups // left
            seen += 1
