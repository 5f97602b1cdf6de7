"""Time and memory of reading, checking and storing a dataset as large as the whole challenge.

    python -m tests.bench.load.datasets FOLDER [--rows 84916]

The texts are those of FOLDER, repeated with a number; every row has a small image in a ZIP archive.
"""

import io
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pandas as pd
from PIL import Image

from shared.db.datasets import upload_folder
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.bench.arguments import plain_parser
from tests.bench.load.memory import peak_megabytes
from trainer.datasets.builder import build
from trainer.datasets.folder import CHALLENGE
from trainer.datasets.loading import load
from trainer.datasets.validation import check
from trainer.datasets.version_request import VersionRequest

#: Training rows of the challenge.
ROWS = 84_916
STEPS = ("load", "check", "store")


def enlarge(folder: Path, out: Path, rows: int) -> None:
    """Write a dataset of many rows that repeats the texts of another one, each with an image."""
    enlarge_texts(folder, out, rows)
    content = io.BytesIO()
    Image.new("RGB", (500, 500), "white").save(content, "JPEG")
    with zipfile.ZipFile(out / "images.zip", "w") as archive:
        for row in range(rows):
            # Bytes after the end of an image are not part of it, and make each file unique.
            image = content.getvalue() + str(row).encode()
            archive.writestr(f"image_train/image_{row}_product_{row}.jpg", image)


def enlarge_texts(folder: Path, out: Path, rows: int) -> None:
    """Write the two tables of a dataset of many rows that repeats the texts of another one."""
    data = load(folder)
    texts = data.rows[data.rows["has_text"] & data.rows["part"].isin(["train", "test"])]
    parts = [texts] * (rows // len(texts) + 1)
    many = pd.concat(parts, ignore_index=True)[:rows]
    many["designation"] = many["designation"] + " " + many.index.astype(str)
    many["productid"] = many["imageid"] = many.index
    many[["designation", "description", "productid", "imageid"]].to_csv(out / "X_train_update.csv")
    many[["code"]].set_axis(["prdtypecode"], axis=1).to_csv(out / "Y_train_CVw08PX.csv")


def measure(step: str, folder: Path) -> str:
    """Run one step in this process and return its row of the table."""
    steps = {"load": _load, "check": lambda path: check(path).rows, "store": _store}
    started = time.perf_counter()
    rows = steps[step](folder)
    seconds = time.perf_counter() - started
    return f"{step:<6}{rows:>8} rows{seconds:>8.1f} s{peak_megabytes():>8.0f} MB peak"


def _load(folder: Path) -> int:
    return len(load(folder).rows)


def _store(folder: Path) -> int:
    """Build a version from uploaded files, as the trainer does."""
    with tempfile.TemporaryDirectory() as temporary:
        storage, scratch = (
            Storage(StorageSettings(url=f"{temporary}/files")),
            Path(temporary, "scratch"),
        )
        scratch.mkdir()
        for kind, name in (("products", CHALLENGE[0]), ("labels", CHALLENGE[1])):
            with (folder / name).open("rb") as file:
                storage.put_stream(f"{upload_folder('1')}/{kind}.csv", file)
        with (folder / "images.zip").open("rb") as file:
            storage.put_stream(f"{upload_folder('1')}/images.zip", file)
        request = VersionRequest("1", "bench", 1, files=["images", "labels", "products"])
        return build(storage, request, scratch).report.rows


def main() -> None:
    """Measure each step in its own process, for the peak of its memory."""
    parser = plain_parser(__doc__)
    parser.add_argument("folder", type=Path, help="dataset in the layout of the challenge")
    parser.add_argument(
        "--rows", type=int, default=ROWS, help="rows of the large dataset (default: %(default)s)"
    )
    parser.add_argument("--step", choices=STEPS, help="run only this step, on FOLDER itself")
    args = parser.parse_args()
    if args.step:
        print(measure(args.step, args.folder))
        return
    with tempfile.TemporaryDirectory() as large:
        enlarge(args.folder, Path(large), args.rows)
        small = str(args.folder)
        steps = (("load", small), ("check", small), *((step, large) for step in STEPS))
        for step, folder in steps:
            command = [sys.executable, "-m", "tests.bench.load.datasets", folder, "--step", step]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
