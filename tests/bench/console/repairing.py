"""Steps of the repair: paste titles into the rejected rows, run them, and download all results."""

import zipfile

from playwright.sync_api import expect

from tests.bench.console.run import Run, Step
from tests.bench.console.table import COLUMNS

#: Copies a column as a spreadsheet does, into the cell that has the focus.
PASTE = """text => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  document.activeElement.dispatchEvent(new ClipboardEvent("paste",
    { clipboardData: data, bubbles: true, cancelable: true }));
}"""
TITLE = "Lampe solaire réparée"


def look(run: Run) -> str:
    """Open the page of the rejected rows."""
    run.open(f"/catalogs/{run.catalog_id}/repair")
    expect(run.page.locator("tr[data-row]").first).to_be_visible()
    return f"{run.page.locator('tr[data-row]').count()} rows a page"


def repair(run: Run) -> str:
    """Paste a title into each rejected row, page by page, and wait until all are saved."""
    pages = 0
    while True:
        rows = run.page.locator("tr[data-row]")
        count = rows.count()
        rows.first.locator(f"textarea[data-column='{COLUMNS[0]}']").focus()
        titles = "\n".join(f"{TITLE} {pages}-{number}" for number in range(count))
        run.page.evaluate(PASTE, titles)
        expect(run.page.locator("tr.repaired")).to_have_count(count)
        pages += 1
        following = run.page.locator("#repair a[rel=next]")
        if not following.count():
            return f"{pages} pages; {run.page.locator('[data-run]').inner_text()}"
        following.click()
        expect(run.page.locator("tr.repaired")).to_have_count(0)


def classify(run: Run) -> None:
    """Run the repaired rows, until their answers have joined the others."""
    run.page.locator("[data-run]").click()
    expect(run.page.locator("#repair-run .notice")).to_be_visible()


def download(run: Run) -> str:
    """Download all results as a workbook, which has the repaired titles."""
    run.open(f"/catalogs/{run.catalog_id}/files")
    with run.page.expect_download() as download:
        run.page.locator("a[href*=xlsx]").first.click()
    path = run.folder / "results.xlsx"
    download.value.save_as(path)
    with zipfile.ZipFile(path) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    repaired, rows = sheet.count(TITLE), sheet.count("<row ") - 1
    if (repaired, rows) != (run.unusable, run.rows):
        raise SystemExit(
            f"Expected {run.rows} rows, {run.unusable} of them repaired. "
            f"Received: {rows}, {repaired}"
        )
    return f"{path.stat().st_size / 1e6:.1f} MB, {rows} rows, {repaired} of them repaired"


STEPS = (
    Step("repair: first page", look),
    Step("repair: all rows by pasting", repair),
    Step("repair: run until final", classify),
    Step("results: XLSX", download),
)
