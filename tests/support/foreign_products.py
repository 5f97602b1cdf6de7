"""Made-up products of shops that sell nothing that the sample shop sells: car parts, medicines."""

import random
import string
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS = Path(__file__).with_suffix(".toml")
LANGUAGES = ("fr", "en", "de")
#: Share of the languages, about as in the sample shop.
LANGUAGE_WEIGHTS = (8, 1, 1)
#: Share of products with a description.
DESCRIBED = 0.6


@dataclass(frozen=True)
class ForeignProduct:
    """A product and the name of its domain."""

    domain: str
    designation: str
    description: str


def foreign_products(
    per_domain: int, seed: int = 0, languages: Mapping[str, int] | None = None
) -> Iterator[ForeignProduct]:
    """Yield as many products of each domain, no title twice.

    Args:
        per_domain: Products of each domain.
        seed: Seed of the random choices.
        languages: Weights of the languages; mostly French by default.
    """
    weights = languages or dict(zip(LANGUAGES, LANGUAGE_WEIGHTS, strict=True))
    for domain, words in tomllib.loads(WORDS.read_text("utf-8")).items():
        generator = random.Random(f"{seed} {domain}")
        titles: set[str] = set()
        while len(titles) < per_domain:
            (language,) = generator.choices(list(weights), list(weights.values()))
            title = _title(words[language], words["brands"], generator)
            if title not in titles:
                titles.add(title)
                body = _description(words[language]["sentences"], generator)
                yield ForeignProduct(domain, title, body)


def _title(words: Mapping[str, Any], brands: Sequence[str], generator: random.Random) -> str:
    parts = [
        generator.choice(words["things"]),
        *generator.sample(words["qualities"], generator.randint(0, 2)),
        generator.choice(brands),
    ]
    if generator.random() < 0.4:
        letters = "".join(generator.choices(string.ascii_uppercase, k=2))
        parts.append(f"{letters}{generator.randint(100, 99999)}")
    if generator.random() < 0.3:
        # Some shops put the brand first.
        parts.insert(0, parts.pop(next(i for i, part in enumerate(parts) if part in brands)))
    title = " ".join(parts)
    return title[0].upper() + title[1:]


def _description(sentences: Sequence[str], generator: random.Random) -> str:
    if generator.random() > DESCRIBED:
        return ""
    return " ".join(generator.sample(sentences, generator.randint(1, len(sentences))))
