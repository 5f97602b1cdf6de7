"""Catalogs: reads that cost, cells that a spreadsheet executes, checks that others wait for."""

import csv
import io
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.bench.attacks.connections import growth
from tests.bench.attacks.figure import Figure
from tests.bench.attacks.forms import waits_of
from tests.bench.attacks.target import Target

ATTACKER = "127.0.0.50"
#: Label files that are sent at once.
LABEL_FILES = 16
#: Seconds of the longest, and the median of other users in milliseconds.
LABEL_LIMIT, OTHERS_LIMIT = 5, 200
LIST = "/v1/jobs?limit=1"
#: Rows and header bytes of the catalog whose results repeat its header.
WIDE_ROWS, WIDE_BYTES, READ_LIMIT = 1_000, 45_000, 80 * 2**20
FINAL_SECONDS = 120.0
#: Cells that a spreadsheet would execute, and those of them that are headers too.
FORMULAS = ("\n=1+1", "\t=1+1", "＝1+1", "＋1+1", "－1+1", "＠SUM(1)", "=1+1")
HEADERS = ("\t=1+2", "＝1+2", "=1+2")
CHECKS = 6


def reads(target: Target) -> list[Figure]:
    """Look labels up in a large catalog and read results with a wide header."""
    with target.account("reader", address=ATTACKER) as attacker, target.account("lists") as other:
        return [*_label_files(target, attacker, other), _wide_header(target, attacker)]


def spreadsheets(target: Target) -> list[Figure]:
    """Send cells and headers that a spreadsheet executes, and read them back."""
    with target.account("formulas", address=ATTACKER) as client:
        cells = dict(zip(FORMULAS, [*HEADERS, *"abcd"], strict=True))
        table = _csv(["designation", *cells.values()], [["Coussin", *cells]])
        catalog = _upload(client, table)
        _final(client, catalog)
        answer = client.get(f"{catalog}/results")
    found = {cell for row in csv.reader(io.StringIO(answer.text)) for cell in row}
    sent = (*FORMULAS, *HEADERS)
    live = sorted(found & set(sent))
    quoted = sum(f"'{one}" in found for one in sent)
    return [
        Figure(
            "low",
            "kinds of formula that the results hold unchanged, in headers or cells",
            len(live),
            f"of {len(sent)}",
            0,
            "test_formula_is_escaped",
            f"status {answer.status_code}, {quoted} with an apostrophe: {live}",
        )
    ]


def checks(target: Target) -> list[Figure]:
    """Let another user's small catalog wait for the checks of large ones."""
    table = _csv(["designation"], [[f"Coussin {row}"] for row in range(target.rows)])
    with (
        target.account("checked", address=ATTACKER) as attacker,
        target.account("waiting") as other,
    ):
        alone = _checked_seconds(other)
        large = [_upload(attacker, table, dry_run="true") for _ in range(CHECKS)]
        beside = _checked_seconds(other)
        for catalog in large:
            attacker.delete(catalog)
    return [
        Figure(
            "low",
            f"check of another user's catalog behind {CHECKS} large ones, beside alone",
            beside / alone,
            "×",
            4,
            "test_catalogs_of_one_user_do_not_delay_the_check_of_another",
            f"{alone:.2f} s alone, {beside:.2f} s behind {target.rows:,} rows each",
        )
    ]


def _label_files(target: Target, attacker: httpx.Client, other: httpx.Client) -> list[Figure]:
    rows = [[f"Coussin {row}", f"p{row}"] for row in range(target.rows)]
    catalog = _upload(attacker, _csv(["designation", "productid"], rows))
    _checked(attacker, catalog)
    # The look-up reads the file, so the jobs need not be done.
    attacker.delete(catalog)
    labels = _csv(["productid", "prdtypecode"], [["p1", "2583"]])

    def label(_: int) -> httpx.Response:
        return attacker.post(f"{catalog}/labels", files={"labels": ("l.csv", labels)})

    with waits_of(other, LIST) as quiet:
        time.sleep(2)
    with (
        waits_of(other, LIST) as waits,
        growth(target) as grown,
        ThreadPoolExecutor(LABEL_FILES) as pool,
    ):
        answers = list(pool.map(label, range(LABEL_FILES)))
    seconds = max(answer.elapsed.total_seconds() for answer in answers)
    what = f"{LABEL_FILES} label files by productid on {target.rows:,} rows"
    before, during = statistics.median(quiet), statistics.median(waits)
    test = "test_user_with_too_many_long_requests_is_refused"
    counts = dict(Counter(answer.status_code for answer in answers))
    note = f"{before * 1000:.0f} ms in a quiet system"
    return [
        Figure("6", f"longest of {what}", seconds, "s", LABEL_LIMIT, test, f"statuses {counts}"),
        Figure("6", f"growth of the gateway by {what}", grown[0], "MB", 60, test),
        Figure(
            "6",
            f"median of GET /v1/jobs of another user beside {what}",
            during * 1000,
            "ms",
            OTHERS_LIMIT,
            test,
            note,
        ),
    ]


def _wide_header(target: Target, attacker: httpx.Client) -> Figure:
    table = _csv(["designation", "x" * WIDE_BYTES], [["Coussin", "1"]] * WIDE_ROWS)
    catalog = _upload(attacker, table)
    read = 0
    if catalog:
        _final(attacker, catalog)
        with growth(target) as grown:
            read = _read(attacker, f"{catalog}/results?format=jsonl")
    return Figure(
        "6",
        f"growth of the gateway by results of {WIDE_ROWS} rows with a header of 45 kB",
        grown[0] if catalog else 0,
        "MB",
        40,
        "test_long_column_names_are_sent_in_pieces",
        f"{read / 2**20:.0f} MB read, {read / len(table):.0f} times the upload",
    )


def _read(client: httpx.Client, path: str) -> int:
    """Read at most `READ_LIMIT` bytes and return their number."""
    read = 0
    with client.stream("GET", path) as answer:
        for part in answer.iter_bytes():
            read += len(part)
            if read > READ_LIMIT:
                break
    return read


def _csv(header: list[str], rows: list[list[str]]) -> bytes:
    content = io.StringIO()
    # Quotes everywhere, so that no reader takes a tab for the delimiter.
    writer = csv.writer(content, quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows(rows)
    return content.getvalue().encode()


def _upload(client: httpx.Client, table: bytes, **fields: str) -> str:
    """Return the path of a new catalog, empty if it was refused."""
    files = {"products": ("p.csv", table)}
    answer = client.post("/v1/catalogs", files=files, data={"model": "text", **fields})
    return f"/v1/catalogs/{answer.json()['id']}" if answer.status_code == 202 else ""


def _checked(client: httpx.Client, catalog: str) -> None:
    _wait(client, catalog, ("validating",))


def _final(client: httpx.Client, catalog: str) -> None:
    if catalog:
        _wait(client, catalog, ("validating", "running"))


def _wait(client: httpx.Client, catalog: str, before: tuple[str, ...]) -> None:
    deadline = time.monotonic() + FINAL_SECONDS
    while client.get(catalog).json()["status"] in before:
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _checked_seconds(client: httpx.Client) -> float:
    started = time.monotonic()
    _checked(client, _upload(client, _csv(["designation"], [["Coussin"]]), dry_run="true"))
    return time.monotonic() - started
