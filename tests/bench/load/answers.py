"""Server time of the answers of a catalog: first page, filters, orders and the precision dial.

    make answers ROWS=50000

Writes a finished catalog of so many rows, among two others of as many, into a new SQLite and a new
PostgreSQL database, and calls the functions that a page calls. Prints the median and the 95th
percentile of each in milliseconds, beside a bare function that reads the row of the catalog, and
the cost of the index that serves them: seconds to answer 5,000 rows with it and without.
"""

import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import insert, text, update

from gateway.catalogs.output import answers
from gateway.catalogs.output.answers import Filter, Sort
from gateway.catalogs.service import find
from gateway.identity.principal import Principal
from gateway.quality.precision import dial
from shared.db.migrations.upgrade import upgrade
from shared.db.models import Catalog, Job, Role, User, row_job_id
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings
from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.bench.load.timing import percentiles
from tests.support.answered_catalog import NAMES, answered_row
from tests.support.factories import make_catalog, make_user
from tests.support.fakes import FakeBroker
from tests.support.servers import new_database, postgres_server

#: Catalogs of other users in the same table.
OTHERS = 2
#: Rows of one insert, and rows that are answered to measure the cost of the index.
SLICE, ANSWERED = 2_000, 5_000
#: Rows of a page.
SHOWN = 50
WORDS = (
    *("piscine", "gonflable", "ronde", "livre", "ancien", "poche", "magazine", "jeu", "enfant"),
    *("chaise", "bureau", "rouge", "bleu", "vert", "coussin", "lampe", "table", "jardin", "outil"),
    *("peinture", "jouet", "figurine", "carte", "console", "société", "été", "bébé", "rangée"),
)
INDEX = "ix_jobs_catalog_id_confidence"
Measured = dict[str, Callable[[], object]]


def main() -> int:
    """Measure both databases, print a table and return the exit code."""
    parser = plain_parser(__doc__)
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the catalog")
    parser.add_argument("--rounds", type=int, default=40, help="calls of each (default: 40)")
    args = parser.parse_args()
    for name, url in _databases():
        engine = open_engine(DatabaseSettings(url=SecretStr(url)))
        unit_of_work = UnitOfWork(engine, FakeBroker())
        user, catalog = _seed(unit_of_work, args.rows)
        print(f"{name}, {args.rows} rows{'':24}{'p50 ms':>10}{'p95 ms':>10}")
        for what, call in _calls(unit_of_work, user, catalog).items():
            found = percentiles([_seconds(call) for _ in range(args.rounds)])
            print(f"  {what:42}{found['p50_ms']:>10.1f}{found['p95_ms']:>10.1f}", flush=True)
        with_index = _answering(unit_of_work, catalog)
        with unit_of_work() as work:
            work.session.execute(text(f"DROP INDEX {INDEX}"))
        without = _answering(unit_of_work, catalog)
        print(f"  answering {ANSWERED} rows: {with_index:.2f} s, without the index {without:.2f} s")
        engine.dispose()
    return 0


def _calls(unit_of_work: UnitOfWork, user: User, catalog: Catalog) -> Measured:
    principal = Principal(user.id, user.username, Role.CLIENT, "")

    def bare() -> None:
        with unit_of_work.reading() as session:
            find(session, principal, catalog.id)

    def listed(sort: Sort = "row", **wanted: Any) -> Callable[[], object]:
        def call() -> None:
            with unit_of_work.reading() as session:
                answers.page(session, catalog.id, Filter(**wanted), None, sort, None, SHOWN)

        return call

    def dialled(*, by_category: bool = False) -> Callable[[], object]:
        def call() -> None:
            with unit_of_work.reading() as session:
                dial.precision(session, catalog.id, 0.98, by_category=by_category)

        return call

    def first_paint() -> None:
        with unit_of_work.reading() as session:
            find(session, principal, catalog.id)
            found = dial.precision(session, catalog.id, 0.98)
            answers.page(session, catalog.id, Filter(), found.acceptance, "row", None, SHOWN)
            answers.category_counts(session, catalog.id)

    return {
        "bare: one row by its ID": bare,
        "first paint: page, dial and counts": first_paint,
        "page by row": listed(),
        "page by confidence": listed("confidence"),
        "one category": listed(category=2583),
        "one category, least sure first": listed("confidence", category=2583),
        "confidence of at most 10 %": listed(max_confidence=0.1),
        "labelled": listed(label="any"),
        "text in many rows": listed(text="piscine"),
        "text in no row": listed(text="piscinezz"),
        "dial": dialled(),
        "dial by category": dialled(by_category=True),
    }


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _answering(unit_of_work: UnitOfWork, catalog: Catalog) -> float:
    """Return the seconds to take back and write answers, as fusion writes them."""
    ids = [row_job_id(catalog.id, row) for row in range(1, ANSWERED + 1)]
    with unit_of_work() as work:
        last = Job.id.between(ids[0], ids[-1])
        work.session.execute(update(Job).where(last).values(status="queued", confidence=None))
    started = time.perf_counter()
    for begin in range(0, ANSWERED, 500):
        with unit_of_work() as work:
            values = [
                {"id": one, "status": "done", "confidence": number % 10_000 / 10_000}
                for number, one in enumerate(ids[begin : begin + 500], start=begin)
            ]
            work.session.execute(update(Job), values)
    return time.perf_counter() - started


def _seed(unit_of_work: UnitOfWork, rows: int) -> tuple[User, Catalog]:
    draw = random.Random(1)
    made = []
    for number in range(OTHERS + 1):
        user = make_user(f"user{number}")
        catalog = make_catalog(user, rows=rows, fed=rows, fed_until=rows)
        with unit_of_work() as work:
            work.session.add_all([user, catalog])
        for begin in range(0, rows, SLICE):
            jobs = [
                _values(catalog, user, row, draw)
                for row in range(begin + 1, min(begin + SLICE, rows) + 1)
            ]
            with unit_of_work() as work:
                work.session.execute(insert(Job), jobs)
        made.append((user, catalog))
    with unit_of_work() as work:
        work.session.execute(text("ANALYZE"))
    return made[0]


def _values(catalog: Catalog, user: User, row: int, draw: random.Random) -> dict[str, Any]:
    code = draw.choice(list(NAMES))
    job = answered_row(
        catalog,
        user,
        row,
        designation=" ".join(draw.choices(WORDS, k=10)),
        description=" ".join(draw.choices(WORDS, k=draw.choice((0, 0, 60, 90, 150, 300)))),
        prdtypecode=code,
        confidence=round(1 / (1 + math.exp(-draw.gauss(3, 2.2))), 4),
        label=code if draw.random() < 0.01 else None,
    )
    return {name: value for name, value in vars(job).items() if not name.startswith("_")}


@contextmanager
def _postgres() -> Iterator[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rayon-postgres-")))
        server = stack.enter_context(postgres_server(folder))
        yield stack.enter_context(new_database(server))


def _databases() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/rayon.db"
        upgrade(url)
        yield "SQLite", url
    with _postgres() as url:
        upgrade(url)
        yield "PostgreSQL", url


if __name__ == "__main__":
    run_command(main)
