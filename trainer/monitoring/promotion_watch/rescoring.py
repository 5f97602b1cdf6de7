"""Score products with a release that did not answer them.

    python -m trainer.monitoring.promotion_watch.rescoring RELEASE PRODUCTS --out FILE --images N

Runs in its own process: models and their memory go when it exits, and a release that crashes its
process does not end the monitor. Images are scored from their stored features where the release's
extractor has them.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.contracts import Modality
from shared.errors import ImageUnreadable, NotFound, RayonError
from shared.inference.manifest import ImagePart
from shared.inference.preparation.decoders import prepare
from shared.inference.releases.feature_cache import address, decoded
from shared.inference.releases.image_model import Features
from shared.invalid_settings import run_program
from shared.settings import StorageSettings
from shared.skipping import skipping
from shared.storage import Storage, digest_in
from trainer.monitoring.promotion_watch.replies import ANSWER, Product, Replies, Reply
from trainer.release.loaded import LoadedRelease

Floats = NDArray[np.float32]
Get = Callable[[str], bytes]

#: Serving takes precedence over this.
NICENESS = 15


def main(arguments: list[str] | None = None) -> int:
    """Score the products of a file and write the replies as JSON; return the exit code."""
    args = _parser().parse_args(arguments)
    os.nice(NICENESS)
    products = [Product(**line) for line in json.loads(args.products.read_text())]
    try:
        release = LoadedRelease.load(args.release)
        replies = score(release, products, Storage(StorageSettings()).get, most_images=args.images)
    except RayonError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the log of a command
        return 1
    args.out.write_text(json.dumps(_as_json(replies)))
    return 0


def score(
    release: LoadedRelease, products: Sequence[Product], get: Get, *, most_images: int
) -> dict[str, dict[str, Reply]]:
    """Return the replies to each product, by its ID.

    A modality is missing where the release lacks it, the image cannot be read or is one too many;
    `fusion` is missing unless all modalities of the answer are there.

    Args:
        release: The release.
        products: The products.
        get: Returns the content of a file in the storage.
        most_images: Most images whose features are computed, because none are stored.
    """
    scores = {
        Modality.TEXT.value: _texts(release, products),
        Modality.IMAGE.value: _images(release, products, get, most_images),
    }
    codes = release.manifest.category_set.codes
    replies = {}
    for place, product in enumerate(products):
        of_modality = {name: found[place] for name, found in scores.items() if place in found}
        answer = _answer(release, {name: of_modality.get(name) for name in product.modalities})
        found = of_modality if answer is None else {**of_modality, ANSWER: answer}
        replies[product.id] = {name: _reply(codes, one) for name, one in found.items()}
    return replies


def _texts(release: LoadedRelease, products: Sequence[Product]) -> dict[int, Floats]:
    places = [at for at, one in enumerate(products) if Modality.TEXT.value in one.modalities]
    if release.text is None or not places:
        return {}
    rows = pd.DataFrame([asdict(products[at]) for at in places])
    return dict(zip(places, release.score_texts(rows), strict=True))


def _images(
    release: LoadedRelease, products: Sequence[Product], get: Get, most: int
) -> dict[int, Floats]:
    if release.image is None:
        return {}
    found: dict[int, Floats] = {}
    with_image = [
        (at, one.image_uri)
        for at, one in enumerate(products)
        if one.image_uri and Modality.IMAGE.value in one.modalities
    ]
    for place, uri in with_image:
        # An image may be past its retention time, or its catalog deleted.
        with skipping("promotion_watch", products[place].id), suppress(NotFound, ImageUnreadable):
            stored = _stored_features(release.manifest.image_part, uri, get)
            if stored is not None:
                found[place] = np.asarray(release.image.score_features(stored[None])[0])
            elif most > 0:
                most -= 1
                pixels = prepare(get(uri), release.manifest.image_part.size)
                found[place] = np.asarray(release.image.score(pixels[None])[0])
    return found


def _stored_features(part: ImagePart, uri: str, get: Get) -> Features | None:
    digest = digest_in(uri)
    if part.extractor is None or digest is None:
        return None
    with suppress(NotFound):
        return decoded(get(address(part.extractor, digest)), part.features)
    return None


def _answer(release: LoadedRelease, wanted: Mapping[str, Floats | None]) -> Floats | None:
    rows = [row for row in wanted.values() if row is not None]
    if not rows or len(rows) < len(wanted):
        return None
    text, image = wanted.get(Modality.TEXT.value), wanted.get(Modality.IMAGE.value)
    if text is None or image is None:
        return rows[0]
    if release.fusion is None:
        return None
    found: Floats = release.fusion.combine(text[None], image[None])[0]
    return found


def _reply(codes: Sequence[int], row: Floats) -> Reply:
    best = int(row.argmax())
    return Reply(int(codes[best]), float(row[best]))


def _as_json(replies: Mapping[str, Replies]) -> dict[str, Any]:
    return {
        id_: {name: asdict(one) for name, one in found.items()} for id_, found in replies.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.monitoring.promotion_watch.rescoring")
    parser.add_argument("release", type=Path, help="release folder")
    parser.add_argument("products", type=Path, help="products, as `write_products` writes them")
    parser.add_argument("--out", type=Path, required=True, help="output file for the replies")
    parser.add_argument("--images", type=int, required=True, help="most images to compute")
    return parser


if __name__ == "__main__":
    run_program(main)
