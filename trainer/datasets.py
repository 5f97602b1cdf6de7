"""Reads a folder in the layout of the Rakuten France challenge.

Needed: `X_train_update.csv`, `Y_train_CVw08PX.csv` and `images/image_train/`. Used where present:
Used where present:

* `splits.csv`: which rows are `train` and which `test`; without it a stratified tenth is
  `test`.
* `image_only.csv`: pictures whose text is not known.
* `X_test_update.csv` with `Y_test_consensus.csv` and `images/image_test/`: weak labels. They are
  trained on, never measured on.
* `categories.csv`: readable names and the official shares.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.errors import InvalidInput

#: Share of the training rows that is held out to calibrate and to choose.
VALIDATION_SHARE = 0.1
#: Share of the weak rows that no model is fitted on: the fusion is fitted there.
HELD_WEAK_SHARE = 0.15
#: Share that becomes `test` where the data has no splits of its own.
TEST_SHARE = 0.1

TEXT_COLUMNS = ("designation", "description", "productid", "imageid")


@dataclass(frozen=True)
class Dataset:
    """Products with labels.

    Attributes:
        rows: One product each: `designation`, `description`, `picture` (path, or empty), `code`,
            and `part`: `train`, `validation`, `test`, `weak` or `weak_held`.
        categories: In the order of the probability columns.
        official_share: Share of each category in the official training rows, where known.
    """

    rows: pd.DataFrame
    categories: CategorySet
    official_share: dict[int, float]

    def part(self, *names: str, text: bool = False, picture: bool = False) -> pd.DataFrame:
        """Rows of some parts; `text` and `picture` keep only those that have one."""
        rows = self.rows[self.rows["part"].isin(names)]
        if text:
            rows = rows[rows["has_text"]]
        return rows[rows["picture"] != ""] if picture else rows

    def targets(self, rows: pd.DataFrame) -> NDArray[np.int64]:
        """Column numbers of the rows' categories, shape `(rows,)`."""
        position = {code: column for column, code in enumerate(self.categories.codes)}
        return np.array(rows["code"].map(position), dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all rows: equal for equal data."""
        hashes = pd.util.hash_pandas_object(self.rows.drop(columns="picture"), index=True)
        return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """Read a dataset; pictures stay on disk.

    Raises:
        InvalidInput: A file or column is missing, or labels and products do not fit; with rows.
    """
    labelled = _labelled(folder / "X_train_update.csv", folder / "Y_train_CVw08PX.csv")
    labelled["picture"] = _pictures(labelled, folder / "images" / "image_train")
    pictures_only = _pictures_only(folder)
    official = pd.concat([labelled, pictures_only]) if len(pictures_only) else labelled
    official["part"] = _parts(official, folder / "splits.csv", seed)
    frames = [official, *_weak(folder, seed)]
    rows = pd.concat(frames)
    names, share = _names(folder / "categories.csv")
    codes = sorted(int(code) for code in official["code"].unique())
    unknown = sorted(set(rows["code"]) - set(codes))
    if unknown:
        raise InvalidInput(f"Weak labels have codes that no labelled row has: {unknown}")
    return Dataset(
        rows, CategorySet.of((code, names.get(code, str(code))) for code in codes), share
    )


def _labelled(products: Path, labels: Path) -> pd.DataFrame:
    rows = _read(products, TEXT_COLUMNS)
    codes = _read(labels, ("prdtypecode",))["prdtypecode"]
    if len(rows) != len(codes) or not rows.index.equals(codes.index):
        differing = sorted(set(rows.index) ^ set(codes.index))[:5]
        raise InvalidInput(
            f"Expected the same rows in {products.name} and {labels.name}. "
            f"Received: {len(rows)} and {len(codes)} rows, not in both: {differing}"
        )
    return _with_codes(rows, codes, labels.name)


def _with_codes(rows: pd.DataFrame, codes: pd.Series, name: str) -> pd.DataFrame:
    numbers = pd.to_numeric(codes, errors="coerce")
    bad = codes[numbers.isna()]
    if len(bad):
        raise InvalidInput(
            f"Expected whole numbers as `prdtypecode` in {name}. "
            f"Received: {bad.iloc[0]!r} in row {bad.index[0]}, {len(bad)} in all"
        )
    rows = rows.assign(code=numbers.astype("int64"))
    rows["designation"] = rows["designation"].fillna("")
    rows["description"] = rows["description"].fillna("")
    rows["has_text"] = (rows["designation"] != "") | (rows["description"] != "")
    return rows


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, index_col=0)
    except FileNotFoundError as error:
        raise InvalidInput(f"Expected {path.name} in {path.parent}. Received: none") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not a CSV file: {error}") from error
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise InvalidInput(f"Expected the columns {missing} in {path}. Received: {[*rows.columns]}")
    if rows.index.has_duplicates:
        twice = rows.index[rows.index.duplicated()][0]
        raise InvalidInput(f"Expected each index once in {path}. Received: {twice!r} twice")
    return rows


def _pictures(rows: pd.DataFrame, folder: Path) -> list[str]:
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    names = (
        f"image_{image}_product_{product}.jpg"
        for image, product in zip(rows["imageid"], rows["productid"], strict=True)
    )
    return [str(folder / name) if name in there else "" for name in names]


def _pictures_only(folder: Path) -> pd.DataFrame:
    path = folder / "image_only.csv"
    if not path.exists():
        return pd.DataFrame()
    rows = _read(path, ("productid", "imageid", "prdtypecode"))
    rows = _with_codes(rows.assign(designation="", description=""), rows["prdtypecode"], path.name)
    rows["picture"] = _pictures(rows, folder / "images" / "image_train")
    return rows.drop(columns="prdtypecode")


def _weak(folder: Path, seed: int) -> Iterator[pd.DataFrame]:
    products, labels = folder / "X_test_update.csv", folder / "Y_test_consensus.csv"
    if not (products.exists() and labels.exists()):
        return
    rows = _labelled(products, labels)
    rows["picture"] = _pictures(rows, folder / "images" / "image_test")
    held = np.random.default_rng(seed + 1).random(len(rows)) < HELD_WEAK_SHARE
    rows["part"] = np.where(held, "weak_held", "weak")
    yield rows


def _parts(rows: pd.DataFrame, splits: Path, seed: int) -> pd.Series:
    if splits.exists():
        given = _read(splits, ("split",))["split"].reindex(rows.index)
        if given.isna().any():
            raise InvalidInput(
                f"Expected a split for each row in {splits}. "
                f"Received: none for row {given.index[given.isna()][0]}"
            )
        parts = given.astype(object)
    else:
        parts = pd.Series("train", index=rows.index, dtype=object)
        parts[_stratified(rows["code"], TEST_SHARE, seed + 2)] = "test"
    train = rows["code"][parts == "train"]
    parts[_stratified(train, VALIDATION_SHARE, seed)] = "validation"
    return parts


def _stratified(codes: pd.Series, share: float, seed: int) -> pd.Index:
    """Indices of a share of each category; a category with one row keeps it."""
    generator = np.random.default_rng(seed)
    chosen: list[int] = []
    for _, group in codes.groupby(codes):
        order = generator.permutation(group.index.to_numpy())
        chosen.extend(order[: round(len(order) * share)])
    return pd.Index(chosen)


def _names(path: Path) -> tuple[dict[int, str], dict[int, float]]:
    if not path.exists():
        return {}, {}
    rows = pd.read_csv(path)
    codes = rows["prdtypecode"].astype(int)
    return (
        dict(zip(codes, rows["category"], strict=True)),
        dict(zip(codes, rows["official_share"].astype(float), strict=True)),
    )
