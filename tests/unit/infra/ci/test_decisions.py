"""The decision pages are numbered, indexed, and name modules and tests that exist."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[4]
DECISIONS = PROJECT / "infra" / "decisions"
PAGES = sorted(DECISIONS.glob("[0-9]*.md"))
INDEX = (DECISIONS / "README.md").read_text()
#: Folders whose paths a page may name.
ROOTS = ("gateway", "trainer", "shared", "infra", "tests", "worker_text", "worker_image")
TEST_SOURCES = {path: path.read_text() for path in (PROJECT / "tests").rglob("*.py")}


def test_pages_are_numbered_without_gaps() -> None:
    assert [page.name[:5] for page in PAGES] == [f"{n + 1:04}-" for n in range(len(PAGES))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_number_status_date_and_sections(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]}. ")
    assert re.search(r"^- Status: (accepted|proposed|superseded by \[)", text, re.MULTILINE)
    assert re.search(r"^- Date: 20\d\d-\d\d-\d\d$", text, re.MULTILINE)
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections[:3] == ["Context", "Decision", "Consequences"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_index_has_title_and_status_of_a_page(page: Path) -> None:
    text = page.read_text()
    title = text.partition("\n")[0].removeprefix(f"# {page.name[:4]}. ")
    (status,) = re.findall(r"^- Status: (\w+)", text, re.MULTILINE)
    assert f"| {page.name[:4]} | [{title}]({page.name}) | {status} |" in INDEX


def test_index_lists_only_existing_pages() -> None:
    assert re.findall(r"^\| (\d{4}) ", INDEX, re.MULTILINE) == [page.name[:4] for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    named = re.findall(rf"`((?:{'|'.join(ROOTS)})(?:/[\w.-]+)+/?)`", text)
    missing = [one for one in linked if not (DECISIONS / one).exists()]
    assert missing + [one for one in named if not (PROJECT / one).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"\btest_\w+(?:\.py)?", page.read_text()))
    files = {path.name for path in TEST_SOURCES}
    functions = set(re.findall(r"def (test_\w+)", "\n".join(TEST_SOURCES.values())))
    assert named - files - functions == set()
