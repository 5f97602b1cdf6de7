"""Puts everything on one page that needs no network, no script and no other file."""

import time
from collections.abc import Callable
from pathlib import Path

import jinja2
import pandas as pd

from shared.errors import InvalidInput
from trainer.explore import images, measure, sections
from trainer.explore.blocks import Section
from trainer.explore.figures import figure
from trainer.explore.images import Looks
from trainer.explore.material import Material, read_material

#: The page says how far it is after this many images.
TELL_EVERY = 5_000


def explore(folder: Path, out: Path, tell: Callable[[str], None] = lambda _line: None) -> None:
    """Write what a dataset is like as one HTML file.

    Args:
        folder: Dataset that `trainer.datasets.loading.load` reads; untrainable data is shown too.
        out: The file to write.
        tell: Called with a line now and then.

    Raises:
        InvalidInput: The data cannot be read at all, or the file cannot be written.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise InvalidInput(f"Expected a file in a folder that exists. Received: {str(out)!r}")
    material = read_material(folder)
    tell(f"{len(material.rows)} products")
    chosen = choose_images(material)
    looks = look(material, chosen, tell)
    html = render(material, sections_of(material, looks, chosen))
    try:
        out.write_text(html, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error.strerror}") from error
    tell(f"{out}: {len(html) / 1e6:.1f} MB")


def choose_images(material: Material) -> dict[int, list[str]]:
    """Choose the images of each category's sheet, by code, of the largest categories."""
    sizes = measure.balance(material.labelled)
    rows = material.labelled
    shown = rows[rows["code"].isin(sizes.index[: sections.LARGEST])]
    return images.sample(shown, sections.sheet_size(len(sizes)))


def look(
    material: Material,
    chosen: dict[int, list[str]],
    tell: Callable[[str], None] = lambda _line: None,
) -> Looks:
    """Look at every image once, and keep small ones of those that were chosen."""

    def tell_now_and_then(done: int) -> None:
        if done % TELL_EVERY == 0:
            tell(f"{done} images")

    small = [reference for references in chosen.values() for reference in references]
    return images.look_at_all(
        material.rows["image"], material.read, small=small, tell=tell_now_and_then
    )


def sections_of(material: Material, looks: Looks, chosen: dict[int, list[str]]) -> list[Section]:
    """The page from top to bottom."""
    return [
        sections.problems(material, looks),
        sections.categories(material),
        sections.parts(material),
        sections.lengths(material),
        sections.missing(material),
        sections.spoken(material),
        sections.vocabulary(material),
        sections.repeated(material, looks),
        sections.image_sizes(looks),
        sections.sheets(material, looks, chosen),
    ]


def render(material: Material, shown: list[Section]) -> str:
    """Write the page; whatever the products say is text, never markup."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        name=material.name,
        facts=_facts(material.rows, material.labelled),
        sections=shown,
        made=time.strftime("%Y-%m-%d"),
    )


def _facts(rows: pd.DataFrame, labelled: pd.DataFrame) -> dict[str, str]:
    described = (labelled["description"].str.strip() != "").mean() if len(labelled) else 0.0
    share_with_image = (labelled["image"] != "").mean() if len(labelled) else 0.0
    facts = {
        "products, labelled by people": figure(len(labelled), "products"),
        "categories": figure(labelled["code"].nunique(), "categories"),
        "have a description": figure(described, "share"),
        "have an image": figure(share_with_image, "share"),
    }
    if len(rows) > len(labelled):
        facts["more with weak labels"] = figure(len(rows) - len(labelled), "products")
    return facts
