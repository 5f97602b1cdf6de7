"""Loads a dataset for training from a folder or a stored version, `name@version`."""

from pathlib import Path

import numpy as np
import pandas as pd
import structlog

from shared.errors import InvalidInput
from shared.tables.dataset_tables import SPLITS
from trainer.datasets.findings import errors_in
from trainer.datasets.folder import Dataset, labelled_rows, weak_rows
from trainer.datasets.labels import categories_of
from trainer.datasets.layout import table_file
from trainer.datasets.split import VALIDATION_SHARE, hashed_parts
from trainer.datasets.tables import (
    category_names,
    names_in,
    read_table,
    require_unique_numbers,
)
from trainer.datasets.versions import load_stored

log = structlog.get_logger(__name__)

#: Share of the weak rows held out from the models to fit the fusion.
HELD_WEAK_SHARE = 0.15


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """Load a dataset; images stay on disk.

    Args:
        folder: Folder of files, or `name@version` of a stored version.
        seed: Moves rows of a folder between `train` and `validation`.

    Raises:
        InvalidInput: The dataset cannot be trained on; the message gives the first reason and its
            row. `trainer.datasets.validation.check` finds all of them.
    """
    if "@" in folder.name and not folder.exists():
        return load_stored(str(folder))
    if not folder.exists():
        raise InvalidInput(f"Expected a dataset folder or `name@version`. Received: {folder}")
    official, findings = labelled_rows(folder)
    for finding in errors_in(findings):
        raise InvalidInput(finding.message)
    for finding in findings:
        log.warning("dataset_finding", code=finding.code, count=finding.count, text=finding.message)
    official["part"] = _parts(official, table_file(folder, "splits.csv"), seed)
    names, share = category_names(table_file(folder, "categories.csv"))
    codes = sorted(int(code) for code in official["code"].unique())
    names = names_in(official) | names
    weak = weak_rows(folder, names)
    if weak is not None:
        # Categories without labelled rows could never be evaluated.
        weak = weak[weak["code"].isin(codes)]
        held = np.random.default_rng(seed + 1).random(len(weak)) < HELD_WEAK_SHARE
        weak = weak.assign(part=np.where(held, "weak_held", "weak"))
    rows = official if weak is None else pd.concat([official, weak])
    if rows.index.has_duplicates:
        rows = rows.reset_index(drop=True)
    return Dataset(
        rows.drop(columns=["image_name", "category", "line"]),
        categories_of(codes, names),
        share,
    )


def _parts(rows: pd.DataFrame, splits: Path, seed: int) -> pd.Series:
    if not splits.exists():
        return hashed_parts(rows, seed=seed)
    assigned = require_unique_numbers(read_table(splits, SPLITS))["split"].reindex(rows.index)
    if assigned.isna().any():
        row = assigned.index[assigned.isna()][0]
        raise InvalidInput(
            f"Expected a split for each row in {splits.name}. "
            f"Received: none for line {rows['line'][row]} of the products (row {row})"
        )
    parts = assigned.astype(object)
    train = rows["code"][parts == "train"]
    parts[_stratified(train, VALIDATION_SHARE, seed)] = "validation"
    return parts


def _stratified(codes: pd.Series, share: float, seed: int) -> pd.Index:
    """Draw a share of each category's rows; a category with one row keeps it."""
    generator = np.random.default_rng(seed)
    chosen: list[int] = []
    for _, group in codes.groupby(codes):
        order = generator.permutation(group.index.to_numpy())
        chosen.extend(order[: round(len(order) * share)])
    return pd.Index(chosen)
