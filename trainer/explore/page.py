"""Writes one self-contained HTML page: no network, no scripts, no other files."""

import time
from collections.abc import Callable
from pathlib import Path

import jinja2
import pandas as pd

from shared.errors import InvalidInput
from trainer.explore import images, measure, sections
from trainer.explore.blocks import Section
from trainer.explore.figures import figure
from trainer.explore.images import ImageSurvey
from trainer.explore.material import Material, read_material

#: Number of images between progress messages.
PROGRESS_INTERVAL = 5_000


def explore(folder: Path, out: Path, report: Callable[[str], None] = lambda _line: None) -> None:
    """Describe a dataset in one HTML file.

    Args:
        folder: Dataset that `trainer.datasets.loading.load` reads, even if it is not trainable.
        out: File to write.
        report: Called with lines about the progress.

    Raises:
        InvalidInput: The data cannot be read at all, or the file cannot be written.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise InvalidInput(f"Expected a file in an existing folder. Received: {str(out)!r}")
    material = read_material(folder)
    report(f"{len(material.rows)} products")
    chosen = choose_images(material)
    survey = survey_images(material, chosen, report)
    html = render(material, sections_of(material, survey, chosen))
    try:
        out.write_text(html, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"Expected a file that can be written. Received: {str(out)!r}, {error.strerror}"
        ) from error
    report(f"{out}: {len(html) / 1e6:.1f} MB")


def choose_images(material: Material) -> dict[int, list[str]]:
    """Choose the thumbnails of each of the largest categories, by code."""
    sizes = measure.balance(material.labelled)
    rows = material.labelled
    shown = rows[rows["code"].isin(sizes.index[: sections.MAX_CATEGORIES])]
    return images.sample(shown, sections.sheet_size(len(sizes)))


def survey_images(
    material: Material,
    chosen: dict[int, list[str]],
    report: Callable[[str], None] = lambda _line: None,
) -> ImageSurvey:
    """Read every image once, with thumbnails of the chosen ones."""

    def report_progress(done: int) -> None:
        if done % PROGRESS_INTERVAL == 0:
            report(f"{done} images")

    thumbnails = [reference for references in chosen.values() for reference in references]
    return images.survey_images(
        material.rows["image"], material.read, thumbnails=thumbnails, on_progress=report_progress
    )


def sections_of(
    material: Material, survey: ImageSurvey, chosen: dict[int, list[str]]
) -> list[Section]:
    """Return the sections of the page in order."""
    return [
        sections.findings(material, survey),
        sections.categories(material),
        sections.parts(material),
        sections.lengths(material),
        sections.missing(material),
        sections.language_shares(material),
        sections.vocabulary(material),
        sections.repeated_products(material, survey),
        sections.image_sizes(survey),
        sections.sheets(material, survey, chosen),
    ]


def render(material: Material, shown: list[Section]) -> str:
    """Render the page; autoescaping keeps markup in product texts inert."""
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
        created=time.strftime("%Y-%m-%d"),
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
        facts["additional, with weak labels"] = figure(len(rows) - len(labelled), "products")
    return facts
