import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from shared.errors import InvalidInput
from trainer.datasets.loading import load


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
    images = folder / "images" / "image_train"
    images.mkdir(parents=True)
    (images / "image_3_product_3.jpg").write_bytes(b"x")
    return folder


def write_simple(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "products.csv").write_bytes(text.encode(encoding))
    return folder


def test_challenge_layout_without_splits_is_split_by_title(tmp_path: Path) -> None:
    data = load(write_data(tmp_path, rows=1000))
    assert data.categories.codes == (10, 2583)
    test = data.part("test")["code"].value_counts(normalize=True)
    assert 70 < len(data.part("test")) < 130
    assert 60 < len(data.part("validation")) < 120
    assert test[10] == pytest.approx(2 / 3, abs=0.1)
    assert not set(data.part("test").index) & set(data.part("train", "validation").index)


def test_images_are_found_by_name(tmp_path: Path) -> None:
    data = load(write_data(tmp_path))
    found = data.part("train", "validation", "test", image=True)
    assert [Path(path).name for path in found["image"]] == ["image_3_product_3.jpg"]
    assert data.read_image(found["image"].iloc[0]) == b"x"


@pytest.mark.parametrize(
    ("archive", "member"),
    [
        ("images.zip", "images/image_train/image_3_product_3.jpg"),
        ("images.zip", "image_3_product_3.jpg"),
        ("images/image_train.zip", "image_train/image_3_product_3.jpg"),
    ],
)
def test_images_in_archives_are_read_without_unpacking(
    tmp_path: Path, archive: str, member: str
) -> None:
    loose = load(write_data(tmp_path))
    shutil.rmtree(tmp_path / "images" / "image_train")
    with zipfile.ZipFile(tmp_path / archive, "w") as packed:
        packed.writestr(member, b"x")
    data = load(tmp_path)
    references = data.rows.loc[data.rows["image"] != "", "image"]
    assert data.read_image(references.loc[3]) == b"x"
    assert data.fingerprint == loose.fingerprint


def test_splits_file_is_respected(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    splits = ["test" if i < 12 else "train" for i in range(60)]
    pd.DataFrame({"split": splits}).to_csv(folder / "splits.csv")
    assert sorted(load(folder).part("test").index) == list(range(12))


def write_weak(folder: Path, *codes: int) -> Path:
    products = pd.read_csv(folder / "X_train_update.csv", index_col=0).iloc[: len(codes)]
    products.index += 1000
    products.to_csv(folder / "X_test_update.csv")
    labels = pd.Series(codes, index=products.index, name="prdtypecode")
    labels.to_csv(folder / "Y_test_consensus.csv")
    return folder


def test_weak_rows_are_trained_on_and_never_tested(tmp_path: Path) -> None:
    data = load(write_weak(write_data(tmp_path), *[10] * 60))
    assert len(data.part("weak", "weak_held")) == 60
    assert len(data.part("weak_held")) > 0
    assert data.part("test").index.max() < 1000


def test_weak_rows_of_unknown_categories_are_ignored(tmp_path: Path) -> None:
    data = load(write_weak(write_data(tmp_path), 10, 77, 2583))
    assert data.part("weak", "weak_held")["code"].tolist() == [10, 2583]
    assert data.categories.codes == (10, 2583)


def test_loading_is_deterministic_for_a_seed(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    assert load(folder, seed=4).fingerprint == load(folder, seed=4).fingerprint
    assert load(folder, seed=4).fingerprint != load(folder, seed=5).fingerprint


def test_seed_never_moves_test_rows(tmp_path: Path) -> None:
    folder = write_data(tmp_path, rows=300)
    first, second = (load(folder, seed=seed).part("test").index for seed in (1, 2))
    assert first.equals(second)


def test_fingerprint_ignores_the_location_of_the_folder(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    before = load(folder).fingerprint
    assert load(folder.rename(tmp_path.with_name("moved"))).fingerprint == before


def test_fingerprint_covers_images_and_labels(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    before = load(folder).fingerprint
    image = folder / "images/image_train/image_3_product_3.jpg"
    image.write_bytes(b"larger")
    larger = load(folder).fingerprint
    image.rename(image.with_name("image_4_product_4.jpg"))
    moved = load(folder).fingerprint
    labels = pd.read_csv(folder / "Y_train_CVw08PX.csv", index_col=0)
    labels.iloc[0] = 10
    labels.to_csv(folder / "Y_train_CVw08PX.csv")
    assert len({before, larger, moved, load(folder).fingerprint}) == 4


def test_error_for_a_non_numeric_code_names_its_line_and_row(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'dix' in line 9 \(row 7\)"):
        load(write_data(tmp_path, row7="dix"))


def test_error_for_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"X_train_update\.csv"):
        load(tmp_path)


def test_labels_for_different_rows_are_refused(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    labels = pd.read_csv(folder / "Y_train_CVw08PX.csv", index_col=0)
    labels.iloc[:-1].to_csv(folder / "Y_train_CVw08PX.csv")
    with pytest.raises(InvalidInput, match=r"not in both: \[59\]"):
        load(folder)


def test_labels_are_matched_by_row_number(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    before = load(folder).rows["code"]
    labels = pd.read_csv(folder / "Y_train_CVw08PX.csv", index_col=0)
    labels.iloc[::-1].to_csv(folder / "Y_train_CVw08PX.csv")
    assert load(folder).rows["code"].equals(before)


def test_simple_layout_is_read(tmp_path: Path) -> None:
    text = (
        'designation,description,image,prdtypecode\n"Stylo, bleu","a\nb",pics/a.png,1\nPen,,b.png,2'
    )
    folder = write_simple(tmp_path, text, "utf-8-sig")
    (folder / "images" / "pics").mkdir(parents=True)
    (folder / "images" / "pics" / "a.png").write_bytes(b"a")
    (folder / "categories.csv").write_text("code,name\n1,Stylos\n2,Autres\n")
    data = load(folder)
    assert data.rows["designation"].tolist() == ["Stylo, bleu", "Pen"]
    assert data.rows["description"].tolist() == ["a\nb", ""]
    assert [data.categories.name(code) for code in data.categories.codes] == ["Stylos", "Autres"]
    assert [Path(path).name for path in data.rows["image"]] == ["a.png", ""]
    assert data.official_share == {}


def test_semicolon_separated_files_are_read(tmp_path: Path) -> None:
    data = load(write_simple(tmp_path, "designation;prdtypecode\nNA;10.0\nnull;20\n"))
    assert data.rows["designation"].tolist() == ["NA", "null"]
    assert data.categories.codes == (10, 20)


def test_labels_file_without_row_numbers_is_matched_by_order(tmp_path: Path) -> None:
    folder = write_simple(tmp_path, ",designation\n7,a\n9,b\n")
    (folder / "labels.csv").write_text("prdtypecode\n2\n1\n")
    assert load(folder).rows["code"].to_dict() == {7: 2, 9: 1}


def test_category_with_one_row_is_trained_on(tmp_path: Path) -> None:
    folder = write_data(tmp_path, rows=300, row8=99)
    data = load(folder)
    assert data.rows.loc[8, "part"] == "train"
    assert data.categories.codes == (10, 99, 2583)


def test_dataset_without_images_is_read(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    shutil.rmtree(folder / "images")
    data = load(folder)
    assert (data.rows["image"] == "").all()
    assert len(data.part("train", image=True)) == 0


def test_single_category_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="two or more categories"):
        load(write_simple(tmp_path, "designation,prdtypecode\na,1\nb,1\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'designation,prdtypecode\n"never closed,1\n', "Line 2: Expected a closing quote"),
        (b"designation,prdtypecode\na,1,surplus\nb,2,surplus\n", "Line 2: Expected 2 cells"),
        (b"", r"products\.csv: Expected a header and rows. Received: an empty file"),
        (b"titles,prdtypecode\na,1\n", "Received the columns: titles, prdtypecode. Did you mean"),
        (b"%PDF-1.7", "Received: a PDF document"),
    ],
)
def test_files_that_are_not_tables_are_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "products.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        load(tmp_path)


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"Expected a dataset folder.*Received: .*absent"):
        load(tmp_path / "absent")
