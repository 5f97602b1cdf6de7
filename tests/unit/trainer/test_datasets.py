from pathlib import Path

import pandas as pd
import pytest

from shared.errors import InvalidInput
from trainer.datasets import load


def write_data(folder: Path, rows: int = 60, **labels: object) -> Path:
    products = pd.DataFrame(
        {
            "designation": [f"produit {i}" for i in range(rows)],
            "description": [None if i % 2 else "long texte" for i in range(rows)],
            "productid": range(rows),
            "imageid": range(rows),
        }
    )
    products.to_csv(folder / "X_train_update.csv")
    values: list[object] = [10 if i % 3 else 2583 for i in range(rows)]
    for row, code in labels.items():
        values[int(row.removeprefix("row"))] = code
    codes = pd.Series(values, name="prdtypecode", dtype=object)
    codes.to_csv(folder / "Y_train_CVw08PX.csv")
    pictures = folder / "images" / "image_train"
    pictures.mkdir(parents=True)
    (pictures / "image_3_product_3.jpg").write_bytes(b"x")
    return folder


def test_official_layout_alone_is_split_by_category(tmp_path: Path) -> None:
    data = load(write_data(tmp_path))
    assert data.categories.codes == (10, 2583)
    assert len(data.part("test")) == 6
    assert data.part("test")["code"].value_counts().to_dict() == {10: 4, 2583: 2}
    assert not set(data.part("test").index) & set(data.part("train", "validation").index)


def test_pictures_are_found_by_name(tmp_path: Path) -> None:
    data = load(write_data(tmp_path))
    found = data.part("train", "validation", "test", picture=True)
    assert [Path(path).name for path in found["picture"]] == ["image_3_product_3.jpg"]


def test_given_splits_are_kept(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    splits = ["test" if i < 12 else "train" for i in range(60)]
    pd.DataFrame({"split": splits}).to_csv(folder / "splits.csv")
    assert sorted(load(folder).part("test").index) == list(range(12))


def test_weak_rows_are_trained_on_and_never_tested(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    products = pd.read_csv(folder / "X_train_update.csv", index_col=0)
    products.index += 1000
    products.to_csv(folder / "X_test_update.csv")
    pd.Series(10, index=products.index, name="prdtypecode").to_csv(folder / "Y_test_consensus.csv")
    data = load(folder)
    assert len(data.part("weak", "weak_held")) == 60
    assert len(data.part("weak_held")) > 0
    assert data.part("test").index.max() < 1000


def test_loading_twice_gives_the_same(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    assert load(folder, seed=4).fingerprint == load(folder, seed=4).fingerprint
    assert load(folder, seed=4).fingerprint != load(folder, seed=5).fingerprint


def test_code_that_is_no_number_is_named_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'dix' in row 7"):
        load(write_data(tmp_path, row7="dix"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"X_train_update\.csv"):
        load(tmp_path)


def test_labels_of_other_rows_are_refused(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    labels = pd.read_csv(folder / "Y_train_CVw08PX.csv", index_col=0)
    labels.iloc[:-1].to_csv(folder / "Y_train_CVw08PX.csv")
    with pytest.raises(InvalidInput, match=r"not in both: \[59\]"):
        load(folder)
