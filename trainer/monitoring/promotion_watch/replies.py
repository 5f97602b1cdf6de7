"""Products that a release did not answer, and its replies: files between two processes.

`trainer.monitoring.promotion_watch.rescoring` reads the one and writes the other. The monitor does
the opposite, and must not import the models.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

#: The answer from all modalities, beside each of them.
ANSWER = "fusion"


@dataclass(frozen=True)
class Product:
    """A product to score, with the modalities that its answer was made of."""

    id: str
    designation: str
    description: str
    image_uri: str | None
    modalities: Sequence[str]


@dataclass(frozen=True)
class Reply:
    """Category that a release answers, and the probability that it gives it."""

    code: int
    confidence: float


#: Replies of one product: `text`, `image` and `fusion`, those that the release can give.
Replies = Mapping[str, Reply]


def read_replies(path: Path) -> dict[str, dict[str, Reply]]:
    """Read the replies that the command wrote."""
    return {
        id_: {name: Reply(**one) for name, one in replies.items()}
        for id_, replies in json.loads(path.read_text()).items()
    }


def write_products(path: Path, products: Sequence[Product]) -> None:
    """Write the products that the command reads."""
    path.write_text(json.dumps([asdict(product) for product in products]))
