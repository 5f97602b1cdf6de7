import io
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from shared.errors import InvalidInput
from tests.unit.trainer.datasets.test_loading import write_data, write_simple, write_weak
from trainer.datasets.findings import DatasetReport
from trainer.datasets.images import ZipImages
from trainer.datasets.loading import load
from trainer.datasets.validation import check, run_check


def found(report: DatasetReport) -> dict[str, tuple[int, tuple[int | str, ...]]]:
    return {finding.code: (finding.count, finding.rows) for finding in report.findings}


def image() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(content, "PNG")
    return content.getvalue()


def write_good(folder: Path, rows: int = 20) -> Path:
    (folder / "images").mkdir(parents=True)
    lines = ["designation,image,prdtypecode"]
    for row in range(rows):
        lines.append(f"produit {row},{row}.png,{10 + row % 2}")
        (folder / "images" / f"{row}.png").write_bytes(image())
    return write_simple(folder, "\n".join(lines))


def test_valid_dataset_has_no_findings(tmp_path: Path) -> None:
    report = check(write_good(tmp_path), deep=True)
    assert report == DatasetReport(rows=20, classes=2, images=20)
    assert report.is_trainable


def test_missing_and_broken_images_are_counted_and_listed(tmp_path: Path) -> None:
    folder = write_good(tmp_path)
    for row in range(12):
        (folder / "images" / f"{row}.png").unlink()
    (folder / "images" / "15.png").write_bytes(b"no image")
    report = check(folder)
    assert found(report) == {
        "missing_pictures": (12, tuple(range(10))),
        "unreadable_pictures": (1, (15,)),
    }
    assert report.is_trainable


def test_truncated_image_is_found_by_a_deep_check(tmp_path: Path) -> None:
    folder = write_good(tmp_path)
    (folder / "images" / "3.png").write_bytes(image()[:50])
    assert check(folder).findings == ()
    assert found(check(folder, deep=True)) == {"unreadable_pictures": (1, (3,))}


def test_dataset_without_images_is_a_warning(tmp_path: Path) -> None:
    folder = write_good(tmp_path)
    shutil.rmtree(folder / "images")
    report = check(folder)
    assert [*found(report)] == ["no_pictures"]
    assert report.is_trainable


def test_only_broken_images_are_a_warning(tmp_path: Path) -> None:
    folder = write_good(tmp_path)
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    report = check(folder)
    assert found(report)["no_readable_pictures"][0] == 20
    assert report.is_trainable


def test_texts_ids_and_labels_are_checked(tmp_path: Path) -> None:
    rows = [
        "id,designation,description,prdtypecode",
        "a,stylo,bleu,1",
        "b,stylo,bleu,2",
        "c,cahier,,1",
        "d,cahier,,1",
        "d,,sans titre,2",
        "e,seul,,3",
        "f,,,2",
    ]
    folder = write_simple(tmp_path, "\n".join(rows))
    (folder / "categories.csv").write_text("code,name\n1,Un\n2,Deux\n")
    assert found(check(folder)) == {
        "contradicting_labels": (2, (0, 1)),
        "duplicate_products": (1, (3,)),
        "duplicate_ids": (1, (4,)),
        "empty_titles": (1, (4,)),
        "empty_rows": (1, (6,)),
        "single_row_classes": (1, (5,)),
        "unknown_codes": (1, (5,)),
        "no_pictures": (0, ()),
    }


def test_codes_outside_the_allowed_ones_are_reported(tmp_path: Path) -> None:
    assert found(check(write_good(tmp_path), categories=[10]))["unknown_codes"][0] == 10


def test_labels_that_are_not_integers_are_an_error(tmp_path: Path) -> None:
    report = check(write_data(tmp_path, row3="1.5", row7="dix", row9=None))
    assert found(report)["labels_not_integers"] == (2, (3, 7))
    assert found(report)["unlabelled_rows"] == (1, (9,))
    assert {finding.code: finding.lines for finding in report.findings}["unlabelled_rows"] == (11,)
    assert not report.is_trainable


def test_labels_of_a_different_length_are_an_error(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    labels = pd.read_csv(folder / "Y_train_CVw08PX.csv", index_col=0)
    labels.iloc[:-2].to_csv(folder / "Y_train_CVw08PX.csv")
    report = check(folder)
    assert found(report)["lengths_differ"] == (2, (58, 59))
    assert not report.is_trainable


def test_duplicate_row_number_is_an_error(tmp_path: Path) -> None:
    report = check(write_simple(tmp_path, ",designation,prdtypecode\n4,a,1\n4,b,2\n"))
    assert found(report)["duplicate_ids"] == (1, (4,))
    assert not report.is_trainable


def test_single_category_is_an_error(tmp_path: Path) -> None:
    report = check(write_simple(tmp_path, "designation,prdtypecode\na,1\nb,1\n"))
    assert [finding.code for finding in report.errors] == ["too_few_classes"]


def test_more_categories_than_the_limit_are_an_error(tmp_path: Path) -> None:
    lines = [f"produit {number},{number}" for number in range(5_001)]
    report = check(write_simple(tmp_path, "\n".join(["designation,prdtypecode", *lines])))
    [fault] = report.errors
    assert fault.code == "too_many_classes"
    assert "Received: 5001 in 5001 rows. Does `prdtypecode` contain product ids?" in fault.message
    fewer = check(write_simple(tmp_path, "\n".join(["designation,prdtypecode", *lines[1:]])))
    assert fewer.is_trainable


def test_two_categories_are_trainable(tmp_path: Path) -> None:
    assert check(write_simple(tmp_path, "designation,prdtypecode\na,1\nb,2\n")).is_trainable


def test_empty_table_is_an_error(tmp_path: Path) -> None:
    assert not check(write_simple(tmp_path, "designation,prdtypecode\n")).is_trainable


def test_missing_label_column_is_an_error(tmp_path: Path) -> None:
    report = check(write_simple(tmp_path, "designation\na\nb\n"))
    assert [finding.code for finding in report.errors] == ["no_labels"]


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    assert [finding.code for finding in check(tmp_path).errors] == ["unreadable_file"]


def test_weak_labels_of_unknown_categories_are_a_warning(tmp_path: Path) -> None:
    report = check(write_weak(write_data(tmp_path), 10, 77))
    assert found(report)["unknown_weak_codes"] == (1, (1001,))
    assert report.is_trainable


def test_check_command_prints_the_report_and_returns_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(write_good(tmp_path / "good")) == 0
    folder = write_data(tmp_path, row7="dix")
    assert run_check(folder) == 1
    printed = capsys.readouterr().out
    assert "20 rows, 2 classes, 20 images" in printed
    assert "error: Expected whole numbers" in printed
    assert "    1 rows: lines 9 (rows 7)" in printed


def unsafe(folder: Path, *members: zipfile.ZipInfo) -> DatasetReport:
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for member in members:
            archive.writestr(member, b"x")
    return check(write_simple(folder, "designation,prdtypecode\na,1\nb,2\n"))


def link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("a.png")
    member.external_attr = 0o120777 << 16
    return member


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (zipfile.ZipInfo("../a.png"), "outside"),
        (zipfile.ZipInfo("/etc/a.png"), "outside"),
        (zipfile.ZipInfo("C:/a.png"), "outside"),
        (link(), "link"),
    ],
)
def test_unsafe_archives_are_refused(tmp_path: Path, member: zipfile.ZipInfo, reason: str) -> None:
    (fault,) = unsafe(tmp_path, member).errors
    assert reason in fault.message


def test_archive_above_the_size_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.datasets.images.MAX_UNPACKED", 1)
    (fault,) = unsafe(tmp_path, zipfile.ZipInfo("a.png"), zipfile.ZipInfo("b.png")).errors
    assert "unpack to at most 1 bytes. Received: 2" in fault.message
    monkeypatch.setattr("trainer.datasets.images.MAX_MEMBERS", 1)
    (fault,) = unsafe(tmp_path, zipfile.ZipInfo("a.png"), zipfile.ZipInfo("b.png")).errors
    assert "at most 1 files" in fault.message


def test_invalid_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"PK no archive")
    (fault,) = check(write_simple(tmp_path, "designation,prdtypecode\na,1\nb,2\n")).errors
    assert "Expected a ZIP archive" in fault.message


def test_macos_metadata_in_an_archive_is_ignored(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in ("photos/", "photos/a.png", "__MACOSX/photos/._a.png"):
            archive.writestr(name, b"x" if not name.endswith("/") else b"")
    assert [*ZipImages(tmp_path / "images.zip")] == ["photos/a.png"]


def test_member_limit_of_an_archive_applies_before_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}.png", b"x")
    monkeypatch.setattr("trainer.datasets.images.MAX_MEMBERS", 3)
    monkeypatch.delattr(zipfile, "ZipInfo")
    with pytest.raises(InvalidInput, match=r"at most 3 files in images\.zip"):
        ZipImages(tmp_path / "images.zip")


TREE = """\
Titre,Rayon,Photo
couette chaude,Maison > Literie > Couettes,1.png
couette fine,maison > literie > couettes,2.png
drap blanc,Maison > Literie > Draps,3.png
"drap
rose",Maison > Literie > Draps,4.png
chaise,Jardin > Chaises,5.png
nappe,Maison,6.png
table,Jardin > Tables,7.png
table,Jardin > Chaises,8.png
"""


def test_tree_of_text_labels_is_checked_by_level(tmp_path: Path) -> None:
    report = check(write_simple(tmp_path, TREE))
    assert report.is_trainable
    assert (report.rows, report.classes, report.separator) == (8, 5, ">")
    assert [(one.level, one.categories) for one in report.levels] == [(1, 2), (2, 3), (3, 2)]
    first, second, _ = report.levels
    assert (first.largest, first.largest_rows) == ("Maison", 5)
    assert (second.largest, second.largest_rows) == ("Maison > Literie", 4)
    assert (second.smallest, second.smallest_rows) == ("Jardin > Tables", 1)
    by_code = {finding.code: finding for finding in report.findings}
    assert by_code["label_spellings"].lines == (3,)
    assert by_code["single_row_classes"].lines == (8, 9)
    assert "'Maison', 'Jardin > Tables'" in by_code["single_row_classes"].message
    assert by_code["contradicting_labels"].lines == (9, 10)
    assert "'Jardin > Tables'" in by_code["contradicting_labels"].message
    assert by_code["inner_labels"].lines == (8,)


def test_labels_in_a_file_of_their_own_may_be_texts(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    labels = pd.read_csv(folder / "Y_train_CVw08PX.csv", index_col=0)
    names = labels["prdtypecode"].map({10: "Livres", 2583: "Piscines"})
    pd.DataFrame({"Catégorie": names}).to_csv(folder / "Y_train_CVw08PX.csv")
    data = load(folder)
    assert {one.name for one in data.categories.categories} == {"Livres", "Piscines"}


def test_labels_may_be_the_names_of_the_table_of_categories(tmp_path: Path) -> None:
    folder = write_simple(tmp_path, "titre,label\na,livres\nb,Jeux\nc,Divers\n")
    (folder / "categories.csv").write_text("code,name\n10,Livres\n20,Jeux\n")
    data = load(folder)
    assert data.rows["code"].tolist()[:2] == [10, 20]
    assert found(check(folder))["unknown_codes"] == (1, (2,))


def test_names_beside_the_codes_are_theirs(tmp_path: Path) -> None:
    text = "titre,code,categorie\na,10,Livres\nb,20,Jeux\nc,10,Livres\n"
    data = load(write_simple(tmp_path, text))
    assert [(one.code, one.name) for one in data.categories.categories] == [
        (10, "Livres"),
        (20, "Jeux"),
    ]


def test_another_column_beside_the_codes_names_nothing(tmp_path: Path) -> None:
    text = "titre,code,rayon\na,10,Nord\nb,20,Nord\nc,10,Sud\n"
    data = load(write_simple(tmp_path, text))
    assert [one.name for one in data.categories.categories] == ["10", "20"]


@pytest.mark.parametrize(
    ("header", "named", "message"),
    [
        ("image", "a.png", "'a.png' is none of the 20 images"),
        ("visuel du produit", "0.png", "no row names one of the 20 images"),
    ],
)
def test_images_that_no_row_names_are_not_denied(
    tmp_path: Path, header: str, named: str, message: str
) -> None:
    folder = write_good(tmp_path)
    write_simple(folder, f"titre,{header},code\nx,{named},10\ny,{named},20\n")
    found_by_code = {finding.code: finding.message for finding in check(folder).findings}
    assert message in found_by_code["no_pictures"]
