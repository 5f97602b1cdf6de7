"""Steps of the import: sign in, upload, columns, start, and the end of the catalog."""

from playwright.sync_api import expect

from tests.bench.console.run import Run, Step
from tests.bench.console.table import COLUMNS, write_table


def sign_in(run: Run) -> None:
    """Sign in as the first account."""
    run.open("/sign-in")
    run.page.locator("[name=username]").fill("admin")
    run.page.locator("[name=password]").fill(run.system.password)
    run.page.keyboard.press("Enter")
    run.page.wait_for_url("**/console")


def write(run: Run) -> str:
    """Write the table, which no person waits for."""
    path = run.folder / "products.csv"
    write_table(path, run.rows, run.unusable)
    return f"{path.stat().st_size / 1e6:.1f} MB, {run.rows} rows"


def upload(run: Run) -> None:
    """Choose the file and send it, until the page of its check is there."""
    run.open("/import")
    run.page.locator("#products").set_input_files(run.folder / "products.csv")
    run.page.locator("#import [type=submit]").click()
    expect(run.page.locator("#draft")).to_be_visible()
    run.catalog_id = run.page.url.partition("?")[0].rsplit("/", 1)[-1]


def look(run: Run) -> str:
    """Wait for the first rows. No column is recognised."""
    expect(run.page.locator(".sample tbody tr")).to_have_count(5)
    expect(run.page.locator("#designation")).to_be_visible()
    return run.page.locator(".notice").first.inner_text()


def check(run: Run) -> str:
    """Choose the columns and wait for the check of all rows."""
    run.page.locator("#designation").select_option(COLUMNS[0])
    run.page.locator("#description").select_option(COLUMNS[1])
    run.page.locator("#columns [type=submit]").click()
    expect(run.page.locator("#start")).to_be_visible()
    return run.page.locator(".notice").first.inner_text()


def start(run: Run) -> None:
    """Start the catalog, until its progress is shown."""
    run.page.locator("#start").click()
    run.page.wait_for_url(f"**/console/catalogs/{run.catalog_id}")
    expect(run.page.locator("#progress")).to_be_visible()


def finish(run: Run) -> str:
    """Watch the progress until every row is final."""
    expect(run.page.locator("#progress .badge.finished")).to_be_visible()
    return run.page.locator("#progress dl").inner_text().replace("\n", " ")


STEPS = (
    Step("sign in", sign_in),
    Step("(write the table)", write),
    Step("import: upload", upload),
    Step("import: first rows", look),
    Step("import: columns and dry run", check),
    Step("import: start", start),
    Step("catalog: all rows final", finish),
)
