"""Reads and checks a dataset blown up to the size of the whole challenge; prints time and memory.

    python -m tests.bench.datasets FOLDER [--rows 84916]

Texts are those of FOLDER, repeated with a number; every row has a picture, a few bytes in a ZIP.
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

from trainer.dataset_check import check
from trainer.datasets import load

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
            archive.writestr(f"image_train/image_{row}_product_{row}.jpg", content.getvalue())


def measure(step: str, folder: Path) -> str:
    """Do one step, in this process; returns a line."""
    started = time.perf_counter()
    rows = len(load(folder).rows) if step == "load" else check(folder).rows
    seconds = time.perf_counter() - started
    return f"{step:<6}{rows:>8} rows{seconds:>8.1f} s{_peak_megabytes():>8.0f} MB at most"


def _peak_megabytes() -> float:
    # Not `getrusage`, which begins with what the process that started this one had.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Measure each step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--step", choices=("load", "check"), help="this one only, on FOLDER itself")
    given = parser.parse_args()
    if given.step:
        print(measure(given.step, given.folder))
        return
    with tempfile.TemporaryDirectory() as made:
        blow_up(given.folder, Path(made), given.rows)
        for folder in (given.folder, Path(made)):
            for step in ("load", "check"):
                command = [sys.executable, "-m", "tests.bench.datasets", str(folder)]
                subprocess.run([*command, "--step", step], check=True)


if __name__ == "__main__":
    main()
