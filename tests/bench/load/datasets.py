"""Reads, checks and stores a dataset blown up to the whole challenge; prints time and memory.

    python -m tests.bench.load.datasets FOLDER [--rows 84916]

Texts are those of FOLDER, repeated with a number; every row has an image, a few bytes in a ZIP.
"""

import argparse
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
from trainer.datasets.builder import VersionRequest, build
from trainer.datasets.folder import CHALLENGE
from trainer.datasets.loading import load
from trainer.datasets.validation import check

#: Training rows of the challenge.
ROWS = 84_916


def blow_up(folder: Path, out: Path, rows: int) -> None:
    """Write a dataset of many rows that repeats another one's texts."""
    data = load(folder)
    texts = data.rows[data.rows["has_text"] & data.rows["part"].isin(["train", "test"])]
    parts = [texts] * (rows // len(texts) + 1)
    many = pd.concat(parts, ignore_index=True)[:rows]
    many["designation"] = many["designation"] + " " + many.index.astype(str)
    many["productid"] = many["imageid"] = many.index
    many[["designation", "description", "productid", "imageid"]].to_csv(out / "X_train_update.csv")
    many[["code"]].set_axis(["prdtypecode"], axis=1).to_csv(out / "Y_train_CVw08PX.csv")
    content = io.BytesIO()
    Image.new("RGB", (500, 500), "white").save(content, "JPEG")
    with zipfile.ZipFile(out / "images.zip", "w") as archive:
        for row in range(rows):
            # What follows an image's end is no part of it, and makes each file another one.
            one = content.getvalue() + str(row).encode()
            archive.writestr(f"image_train/image_{row}_product_{row}.jpg", one)


def measure(step: str, folder: Path) -> str:
    """Do one step, in this process; returns a line."""
    steps = {"load": _load, "check": lambda one: check(one).rows, "store": _store}
    started = time.perf_counter()
    rows = steps[step](folder)
    seconds = time.perf_counter() - started
    return f"{step:<6}{rows:>8} rows{seconds:>8.1f} s{_peak_megabytes():>8.0f} MB at most"


def _load(folder: Path) -> int:
    return len(load(folder).rows)


def _store(folder: Path) -> int:
    """Make a version as the trainer does, from files that were sent."""
    with tempfile.TemporaryDirectory() as made:
        storage, scratch = Storage(StorageSettings(url=f"{made}/files")), Path(made, "scratch")
        scratch.mkdir()
        for kind, name in (("products", CHALLENGE[0]), ("labels", CHALLENGE[1])):
            with (folder / name).open("rb") as file:
                storage.put_stream(f"{upload_folder('1')}/{kind}.csv", file)
        with (folder / "images.zip").open("rb") as file:
            storage.put_stream(f"{upload_folder('1')}/images.zip", file)
        request = VersionRequest("1", "bench", 1, files=["images", "labels", "products"])
        return build(storage, request, scratch).report.rows


def _peak_megabytes() -> float:
    # Not `getrusage`, which begins with what the process that started this one had.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Measure each step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument(
        "--step", choices=("load", "check", "store"), help="this one only, on FOLDER itself"
    )
    given = parser.parse_args()
    if given.step:
        print(measure(given.step, given.folder))
        return
    with tempfile.TemporaryDirectory() as made:
        blow_up(given.folder, Path(made), given.rows)
        here, large = str(given.folder), made
        steps = (("load", here), ("check", here), *((s, large) for s in ("load", "check", "store")))
        for step, folder in steps:
            command = [sys.executable, "-m", "tests.bench.load.datasets", folder, "--step", step]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
