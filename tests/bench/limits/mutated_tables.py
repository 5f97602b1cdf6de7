"""Feed damaged tables and archives to the readers, and print what they do.

    python -m tests.bench.limits.mutated_tables --count 10000

Files of each kind are damaged by flipped bytes, cuts and splices. The readers must read or refuse
each file: any other exception is counted, and so is a file whose rows differ between two readings
or are not numbered one after the other. Prints the longest CPU time of a file.
"""

import csv
import gzip
import io
import json
import random
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import xlsxwriter

from gateway.catalogs.image_archive import Archive
from gateway.catalogs.products import form_in, product_form, product_rows
from shared.errors import ImageUnreadable, InvalidInput
from shared.tables.unpack import unpack
from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command

MAX_BYTES = 50_000_000
ROWS = 60
WORDS = ["Cafetière", "émaillée;", "très", "élégante,", '12"', "à", "côté", "d'été"]


@dataclass
class Outcome:
    """Counts of the files of one kind, by what the readers did."""

    read: int = 0
    refused: int = 0
    differing: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Print a table of all kinds; return 1 if a reader failed."""
    parser = plain_parser(__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="damaged files of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("kind         read  refused  rows differ  other exceptions  longest CPU s")
    failed = False
    for kind, content in kinds().items():
        found = outcome(content, kind, options.count, random.Random(f"{options.seed} {kind}"))
        print(
            f"{kind:10} {found.read:6} {found.refused:8} {found.differing:12} "
            f"{len(found.faults):17} {found.seconds:14.3f}"
        )
        for fault in found.faults[:3]:
            print(f"  {fault}")
        failed |= bool(found.faults or found.differing)
    return int(failed)


def outcome(content: bytes, kind: str, count: int, generator: random.Random) -> Outcome:
    """Read `count` damaged copies of a file."""
    found = Outcome()
    read = _read_archive if kind == "images" else _read_table
    for number in range(count):
        damaged = mutated(content, generator)
        started = time.process_time()
        try:
            found.differing += not read(damaged)
            found.read += 1
        except InvalidInput:
            found.refused += 1
        except Exception as error:
            found.faults.append(f"file {number}: {type(error).__name__}: {error}")
        found.seconds = max(found.seconds, time.process_time() - started)
    return found


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Return a damaged copy: flipped bytes, a cut, or a part copied to another place."""
    damaged = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 8, 40))):
        place = generator.randrange(len(damaged))
        match generator.choice(("flip", "flip", "cut", "splice")):
            case "flip":
                damaged[place] = generator.choice((generator.randrange(256), *b'",;\n\r\\\x00<['))
            case "cut":
                del damaged[place : place + generator.randrange(1, 50)]
            case "splice":
                start = generator.randrange(len(damaged))
                damaged[place:place] = damaged[start : start + generator.randrange(1, 200)]
        damaged = damaged or bytearray(b"x")
    return bytes(damaged)


def _read_table(content: bytes) -> bool:
    with ExitStack() as files:
        stream = unpack(io.BytesIO(content), files, max_bytes=MAX_BYTES, table="products")
        form = product_form(stream, {})
        rows = list(product_rows(stream, form))
        report = {"form": form.kept, "columns": list(form.columns)}
        again = list(product_rows(stream, form_in(stream, report)))
    numbers = [row.number for row in rows]
    return rows == again and numbers == [*range(1, len(rows) + 1)]


def _read_archive(content: bytes) -> bool:
    archive = Archive(io.BytesIO(content), max_image_bytes=100_000)
    for number in range(10):
        found = archive.find(f"{number}.jpg")
        if isinstance(found, zipfile.ZipInfo):
            try:
                archive.read(found)
            except ImageUnreadable:
                continue
    return len([*archive.unused(), *archive.refused()]) >= 0


def kinds() -> dict[str, bytes]:
    """Return a whole file of each kind."""
    generator = random.Random(0)
    rows = [
        [f"s{n}", " ".join(generator.choices(WORDS, k=8)), "<p>a\nb</p>", f"{n % 10}.jpg"]
        for n in range(ROWS)
    ]
    header = ["sku", "Désignation", "description", "image"]
    objects = [dict(zip(header, row, strict=True)) for row in rows]
    written: dict[str, Callable[[], bytes]] = {
        "csv": lambda: _csv([header, *rows], ","),
        "csv-cp1252": lambda: _csv([header, *rows], ";").decode().encode("cp1252"),
        "csv-utf16": lambda: _csv([header, *rows], "\t").decode().encode("utf-16"),
        "csv-cr": lambda: _csv([header, *rows], ";").replace(b"\r\n", b"\r").replace(b"\n", b" "),
        "backslash": lambda: _csv([header, *rows], ",").replace(b'""', b'\\"'),
        "jsonl": lambda: "".join(json.dumps(one) + "\n" for one in objects).encode(),
        "json": lambda: json.dumps(objects, indent=1).encode(),
        "xlsx": lambda: _workbook([header, *rows]),
        "gzip": lambda: gzip.compress(_csv([header, *rows], ",")),
        "zip": lambda: _zip({"p.csv": _csv([header, *rows], ",")}),
        "images": lambda: _zip({f"{n}.jpg": bytes(range(256)) * 4 for n in range(10)}),
    }
    return {kind: write() for kind, write in written.items()}


def _csv(rows: list[list[str]], delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


def _workbook(rows: list[list[str]]) -> bytes:
    packed = io.BytesIO()
    with xlsxwriter.Workbook(packed) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return packed.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


if __name__ == "__main__":
    run_command(main)
