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

#: Attributes that make a browser fetch something.
FETCHED = {"src", "srcset", "data", "poster", "background", "xlink:href", "action"}


class Page(HTMLParser):
    """What a browser would see: tags, what they fetch, texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.fetched += [value for name, value in given.items() if name in FETCHED]
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        assert not any(name.startswith("on") for name in given)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def explored(folder: Path) -> tuple[str, Page]:
    out = folder.parent / "explore.html"
    explore(folder, out)
    html = out.read_text(encoding="utf-8")
    return html, Page(html)


def test_the_page_needs_nothing_else(shop: Path) -> None:
    html, page = explored(shop)
    assert page.fetched
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.fetched)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert not re.search(r"@import|url\(", html)
    assert "default-src 'none'" in html


def test_every_entry_of_the_contents_leads_somewhere(shop: Path) -> None:
    _, page = explored(shop)
    assert len(page.links) == 11
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def test_markup_in_titles_and_names_is_text(shop: Path) -> None:
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


def test_sheets_show_readable_images(shop: Path) -> None:
    _, page = explored(shop)
    assert len(page.fetched) == 4
    head = base64.b64decode(page.fetched[0].partition(",")[2])[:3]
    assert head == b"\xff\xd8\xff"


def test_findings_of_the_check_are_on_the_page(shop: Path) -> None:
    html, _ = explored(shop)
    for code in ("unreadable_pictures", "single_row_classes"):
        assert code in html


def test_a_dataset_without_images_says_so(tmp_path: Path) -> None:
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
def test_odd_datasets_make_a_page(tmp_path: Path, rows: list[tuple[str, str, str, int]]) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    _, page = explored(write_products(folder, rows))
    assert len(page.links) == 11


def test_many_categories_leave_the_page_small() -> None:
    for categories in (2, 27, 200, 5_000):
        shown = min(categories, sections.LARGEST)
        assert 1 <= sections.sheet_size(categories) <= sections.SHEET
        assert shown * sections.sheet_size(categories) <= sections.ALL_SHEETS


def test_the_command_writes_the_page(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shop.parent / "page.html"
    assert main(["explore", "--data", str(shop), "--out", str(out)]) == 0
    assert out.stat().st_size > 10_000
    assert "8 products" in capsys.readouterr().out


def test_a_folder_without_data_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", "--data", str(tmp_path), "--out", str(tmp_path / "x.html")]) == 1
    assert "error: Expected" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told_before_the_work(shop: Path) -> None:
    with pytest.raises(InvalidInput, match="Expected a file in a folder that exists"):
        explore(shop, shop / "missing" / "explore.html")
