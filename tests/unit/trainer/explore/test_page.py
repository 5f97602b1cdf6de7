import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from tests.unit.trainer.explore.conftest import HOSTILE, ROWS, write_products
from trainer.__main__ import main
from trainer.explore import sections
from trainer.explore.page import explore

#: Attributes whose URLs a browser fetches.
FETCHED = {"src", "srcset", "data", "poster", "background", "xlink:href", "action"}


class Page(HTMLParser):
    """Tags, fetched URLs, ids, links and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.fetched += [value for name, value in attributes.items() if name in FETCHED]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if "href" in attributes else []
        assert not any(name.startswith("on") for name in attributes)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def explored(folder: Path) -> tuple[str, Page]:
    out = folder.parent / "explore.html"
    explore(folder, out)
    html = out.read_text(encoding="utf-8")
    return html, Page(html)


def test_page_is_self_contained(shop: Path) -> None:
    html, page = explored(shop)
    assert page.fetched
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in page.fetched)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert not re.search(r"@import|url\(", html)
    assert "default-src 'none'" in html


def test_every_contents_entry_links_to_a_section(shop: Path) -> None:
    _, page = explored(shop)
    assert len(page.links) == 11
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def test_markup_in_titles_and_names_is_escaped(shop: Path) -> None:
    write_products(shop, [*ROWS, (HOSTILE, "<p>Une lampe de bureau</p>", "", 2)])
    html, page = explored(shop)
    assert "<script" not in html
    assert "<b>Livres" not in html
    assert any("2 · <b>Livres</b>" in text for text in page.words)
    assert any(HOSTILE in text for text in page.words)


def test_charts_have_their_numbers_in_a_table(shop: Path) -> None:
    _, page = explored(shop)
    assert page.tags.count("svg") >= 5
    assert page.tags.count("details") == page.tags.count("svg")


def test_sheets_contain_only_readable_images(shop: Path) -> None:
    _, page = explored(shop)
    assert len(page.fetched) == 4
    head = base64.b64decode(page.fetched[0].partition(",")[2])[:3]
    assert head == b"\xff\xd8\xff"


def test_page_contains_the_findings_of_the_check(shop: Path) -> None:
    html, _ = explored(shop)
    for code in ("unreadable_pictures", "single_row_classes"):
        assert code in html


def test_page_reports_a_dataset_without_images(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    rows = [("Piscine ronde", "", "", 1), ("A book", "", "", 2)] * 3
    html, page = explored(write_products(folder, rows))
    assert "This dataset has no images." in html
    assert not page.fetched


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("Une piscine", "", "", 1)],
        [("", "", "", 1), ("", "", "", 2)],
        [("12", "", "", 1), ("34", "", "", 2)],
        [("\x07 \x1b[0m", "", "x\x00.jpg", 1), ("b", "", "", 2)],
        [(f"Produit {code}", "", "", code) for code in range(500)],
    ],
    ids=["no rows", "one row", "no texts", "no words", "control characters", "500 categories"],
)
def test_unusual_datasets_are_rendered(
    tmp_path: Path, rows: list[tuple[str, str, str, int]]
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    _, page = explored(write_products(folder, rows))
    assert len(page.links) == 11


def test_number_of_thumbnails_is_bounded() -> None:
    for categories in (2, 27, 200, 5_000):
        shown = min(categories, sections.MAX_CATEGORIES)
        assert 1 <= sections.sheet_size(categories) <= sections.SHEET_IMAGES
        assert shown * sections.sheet_size(categories) <= sections.ALL_SHEETS_IMAGES


def test_command_writes_the_page(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shop.parent / "page.html"
    assert main(["explore", str(shop), "--out", str(out)]) == 0
    assert out.stat().st_size > 10_000
    assert "8 products" in capsys.readouterr().out


def test_folder_without_data_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", str(tmp_path), "--out", str(tmp_path / "x.html")]) == 1
    assert "error: Expected" in capsys.readouterr().err


def test_output_folder_is_checked_before_the_data_is_read(shop: Path) -> None:
    with pytest.raises(InvalidInput, match="Expected a file in an existing folder"):
        explore(shop, shop / "missing" / "explore.html")


def test_contradicting_products_have_their_lines(shop: Path) -> None:
    _, page = explored(shop)
    assert "8, 9" in page.words
    assert "6, 7" in page.words


def test_tree_of_text_labels_is_shown_by_level_without_made_codes(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    lines = ["titre;rayon"]
    for name in ("Maison > Literie > Couettes", "Maison > Literie > Draps", "Jardin > Chaises"):
        lines += [f"{name[-6:]} {number};{name}" for number in range(4)]
    (folder / "shop.csv").write_text("\n".join(lines), encoding="utf-8")
    html, page = explored(folder)
    assert "By level of the tree" in html
    assert "Maison &gt; Literie" in html
    assert "Maison > Literie > Couettes" in page.words
    assert not re.search(r"\d{9}", " ".join(page.words))
