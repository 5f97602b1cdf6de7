"""The image of the console in the README, taken by this test of a made-up product.

`make console-image` keeps it: `CONSOLE_IMAGE` names its file.
"""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from gateway.jobs.submission import IMAGES
from shared.categories import Category
from shared.db.models import Explanation, now
from tests.integration.console.conftest import Visitor
from tests.integration.console.test_product_pages import RESULT, store_thumbnail
from tests.support.factories import make_job, make_manifest

#: Width and height of the image, and its most bytes.
SIZE, MOST_BYTES = (1120, 1440), 150_000
WORDS = {
    "designation": [
        {"text": "Inflatable", "effect": 1.6},
        {"text": "pool", "effect": 3.2},
        {"text": "for the", "effect": 0.0},
        {"text": "garden,", "effect": 0.9},
        {"text": "with a book of games", "effect": -1.4},
    ],
    "description": [
        {"text": "Round, 3 m across, with", "effect": 0.02},
        {"text": "pump", "effect": 1.3},
        {"text": "and", "effect": 0.0},
        {"text": "cover.", "effect": 0.5},
    ],
}
GRID = [
    [0.0, 0.1, -0.3, 0.0, 0.0],
    [0.1, 0.6, 0.8, 0.5, 0.0],
    [0.4, 1.9, 2.4, 1.7, 0.3],
    [0.2, 1.1, 1.5, 0.9, 0.1],
    [0.0, 0.0, 0.2, -0.6, 0.0],
]


def pool() -> bytes:
    """Draw a pool on grass."""
    image = Image.new("RGB", (480, 360), "#7db46c")
    draw = ImageDraw.Draw(image)
    for inset, colour in ((0, "#e8eef5"), (14, "#2f7fd0"), (30, "#e8eef5"), (44, "#58c4e8")):
        draw.ellipse((60 + inset, 110 + inset // 2, 420 - inset, 310 - inset), fill=colour)
    for left in (170, 235, 300):
        draw.arc((left, 190, left + 50, 215), 0, 180, fill="#e9fbff", width=4)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("language", ["en"])
def test_page_of_an_answer_is_the_image_of_the_readme(
    visit: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit(account={"username": "ada"}, viewport={"width": SIZE[0], "height": SIZE[1]})
    categories = ("Pools and accessories", "Garden furniture", "Outdoor games", "Books", "Toys")
    codes = (2583, 2582, 1281, 10, 1280)
    names = [Category(code=code, name=name) for code, name in zip(codes, categories, strict=True)]
    manifest = make_manifest(categories=tuple(names))
    monkeypatch.setattr(visitor.api.releases, "manifest", lambda _version: manifest)
    result = {
        **{name: RESULT[name] for name in ("degraded", "degraded_message")},
        "category": categories[0],
        "top": [
            {"prdtypecode": code, "category": name, "probability": share}
            for code, name, share in zip(
                codes,
                categories,
                (0.941, 0.031, 0.012, 0.006, 0.003),
                strict=True,
            )
        ],
        "modalities": {
            "text": {"prdtypecode": 2583, "confidence": 0.93},
            "image": {"prdtypecode": 2583, "confidence": 0.71},
        },
    }
    job = make_job(
        visitor.user,
        designation="Inflatable pool for the garden, with a book of games",
        description="Round, 3 m across, with pump and cover.",
        status="done",
        prdtypecode=2583,
        confidence=0.941,
        result=result,
        image_uri=visitor.api.services.storage.put(IMAGES, pool()),
        wants_image=True,
        finished_at=now(),
    )
    visitor.api.add(job)
    store_thumbnail(visitor, job.id, pool())
    for modality, share, content in (("text", 0.93, WORDS), ("image", 0.71, {"grid": GRID})):
        row = Explanation(job_id=job.id, modality=modality, status="done", probability=share)
        row.content, row.requested_by_id, row.expires_at = content, visitor.user.id, now()
        visitor.api.add(row)
    page = visitor.open(f"/jobs/{job.id}?why=1")
    expect(page.locator("#why .cells i")).to_have_count(25)
    expect(page.locator("#why .words mark").first).to_have_text("Inflatable")
    page.locator(".heat img").evaluate("image => image.decode()")
    taken = Image.open(BytesIO(page.screenshot())).convert("RGB")
    assert taken.size == SIZE
    small = taken.quantize(128, dither=Image.Dither.NONE)
    file = BytesIO()
    small.save(file, "PNG", optimize=True)
    assert len(file.getvalue()) < MOST_BYTES
    if path := os.environ.get("CONSOLE_IMAGE"):
        Path(path).write_bytes(file.getvalue())
