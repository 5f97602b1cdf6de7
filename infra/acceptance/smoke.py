"""Smoke test of a newly started or upgraded system; takes about a minute.

    make smoke URL=https://rayon.example.org

Readiness, sign-in, the release in service, a worker at every queue, a text, a new image, and a
small catalog. Exits with 1 if any check fails.
"""

import argparse
import csv
import io
import os
import ssl
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import httpx
from PIL import Image, ImageDraw

from infra.acceptance.checks import Wrong, expect, run, signed_in
from rayon import Rayon
from shared.contracts import all_queues

#: A worker started together with the gateway may still be loading its models.
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 1.0
ROWS = 12


def main() -> int:
    """Run the smoke test and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS)
    args = parser.parse_args()
    url = args.url.rstrip("/")
    first = run({"readiness": partial(readiness, url, args.patience)})
    if first:
        return first
    with signed_in(url) as rayon:
        return run(
            {
                "account": partial(account, rayon),
                "release": partial(release, rayon),
                "queues": partial(queues, rayon, args.patience),
                "text": partial(text, rayon),
                "image": partial(image, rayon),
                "catalog": partial(catalog, rayon),
            }
        )


def readiness(url: str, patience_seconds: float) -> str:
    """Wait until `/readyz` answers 200."""
    deadline = time.monotonic() + patience_seconds
    tls = ssl.create_default_context()
    while True:
        try:
            answer = httpx.get(f"{url}/readyz", timeout=10, verify=tls)
            if answer.status_code == 200:
                return str(answer.json()["status"])
            said = answer.text
        except httpx.HTTPError as error:
            said = str(error)
        if time.monotonic() > deadline:
            raise Wrong(f"expected 200 within {patience_seconds:.0f} s. Received: {said}")
        time.sleep(POLL_SECONDS)


def account(rayon: Rayon) -> str:
    """Check the signed-in account."""
    found = rayon.whoami()
    return f"{found.username}, {found.role}"


def release(rayon: Rayon) -> str:
    """Check that there is one champion with readable categories."""
    serving = [one for one in rayon.releases() if "champion" in one.aliases]
    expect(len(serving) == 1, f"expected one champion. Received: {len(serving)}")
    categories = rayon.categories()
    expect(len(categories) > 1, f"expected categories. Received: {len(categories)}")
    return f"version {serving[0].version}, {len(categories)} categories"


def queues(rayon: Rayon, patience_seconds: float) -> str:
    """Check that every queue is consumed by a worker."""
    deadline = time.monotonic() + patience_seconds
    while True:
        found = rayon.queues()
        consumed = {queue for worker in found.raw["workers"] for queue in worker["queues"]}
        lonely = set(all_queues()) - consumed
        if not lonely:
            waiting = sum(one.waiting for one in found.items)
            return f"{len(consumed)} queues, {len(found.workers)} workers, {waiting} messages wait"
        if time.monotonic() > deadline:
            raise Wrong(f"expected a consumer of every queue. Missing: {', '.join(sorted(lonely))}")
        time.sleep(POLL_SECONDS)


def text(rayon: Rayon) -> str:
    """Classify a product with text only."""
    answer = rayon.classify("Piscine gonflable ronde", "Pour enfants, 150 cm")
    expect("text" in answer.modalities, f"expected a score of the text. Received: {answer}")
    return f"{answer.prdtypecode} {answer.category}, confidence {answer.confidence:.2f}"


def image(rayon: Rayon) -> str:
    """Classify a product with text and image; both must contribute."""
    answer = rayon.classify("Ballon de plage", image=drawn())
    both = {"text", "image"} <= answer.modalities.keys() and answer.degraded is None
    expect(both, f"expected scores of text and image. Received: {answer}")
    return f"{answer.prdtypecode} {answer.category}, confidence {answer.confidence:.2f}"


def catalog(rayon: Rayon) -> str:
    """Classify a small catalog and download its results."""
    with tempfile.TemporaryDirectory() as folder:
        products = Path(folder) / "products.csv"
        products.write_bytes(table())
        sent = rayon.catalog(products, again=True).wait(seconds=PATIENCE_SECONDS)
        expect(sent.is_whole, f"expected {ROWS} answers. Received: {sent.status}, {sent.counts}")
        answers = sent.results(Path(folder) / "results.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(answers)))
    expect(len(rows) == ROWS, f"expected {ROWS} rows of results. Received: {len(rows)}")
    return f"{len(rows)} rows, {sent.rows_per_second or 0:.0f} rows/s"


def drawn() -> bytes:
    """Draw a unique JPEG: a ball at a random place in a random colour."""
    noise = os.urandom(5)
    image = Image.new("RGB", (320, 240), (noise[0], 200, 255))
    x, y = 40 + noise[1] // 2, 20 + noise[2] // 3
    ImageDraw.Draw(image).ellipse((x, y, x + 120, y + 120), fill=(255, noise[3], noise[4]))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue() + os.urandom(8)


def table() -> bytes:
    """Build a small products file."""
    lines = (f'"Pompe de filtration pour piscine, modèle {number}",' for number in range(ROWS))
    return "\n".join(["designation,description", *lines, ""]).encode()


if __name__ == "__main__":
    sys.exit(main())
