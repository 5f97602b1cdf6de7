"""Images are found by what tables call them: names, paths, addresses and numbers."""

import unicodedata
import zipfile

import pytest

from shared.image_names import MAX_SHARED, NameIndex, names_of, wanted


def index(*paths: str) -> NameIndex[str]:
    """Index items that are named like their paths; equal file sizes mean equal content."""
    found: NameIndex[str] = NameIndex(lambda one, other: one == other)
    for path in paths:
        found.add(path, path)
    return found


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("A.JPG", "a.jpg"),
        ("photos/2024/a.jpg", "a.jpg"),
        ("C:\\Users\\moi\\photos\\a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("/a.jpg", "a.jpg"),
        ("https://shop.example/media/a.jpg?v=2", "a.jpg"),
        ("https://shop.example/media/a.jpg#top", "a.jpg"),
        ("/media/d%20bleu.jpg", "d bleu.jpg"),
        ("a.jpg,b.jpg", "a.jpg"),
        ("b.jpg|a.jpg", "b.jpg"),
        ("a.jpg; b.jpg", "a.jpg"),
        ('["b.jpg", "a.jpg"]', "b.jpg"),
        ("https://shop.example/b.jpg, https://shop.example/a.jpg", "b.jpg"),
        ("un, deux.jpg", "un, deux.jpg"),
        ("3804725264.0", "3804725264.jpg"),
        ("image_1.0_product_2.0.jpg", "image_1_product_2.jpg"),
        ("a", "a.jpg"),
        ("b.jpeg", "b.jpg"),
        ("théière.jpg", unicodedata.normalize("NFD", "Théière.jpg")),
    ],
)
def test_image_is_found(cell: str, path: str) -> None:
    others = ("a.jpg", "b.jpg", "d bleu.jpg", "un, deux.jpg", "x/c.png")
    assert index(*dict.fromkeys((*others, path))).find(cell) == [path]


def test_case_decides_between_twins() -> None:
    twins = index("IMG_1.JPG", "img_1.jpg")
    assert twins.find("IMG_1.JPG") == ["IMG_1.JPG"]
    assert twins.find("img_1.jpg") == ["img_1.jpg"]
    assert twins.find("Img_1.jpg") == ["IMG_1.JPG", "img_1.jpg"]


def test_shared_name_needs_the_path() -> None:
    shared = index("x/a.jpg", "y/a.jpg")
    assert shared.find("a.jpg") == ["x/a.jpg", "y/a.jpg"]
    assert shared.find("y/a.jpg") == ["y/a.jpg"]


def test_suffix_decides_between_images_of_one_stem() -> None:
    assert index("a.jpg", "a.png").find("a.png") == ["a.png"]
    assert index("a.jpg", "a.png").find("a") == ["a.jpg", "a.png"]


def test_missing_image_is_not_found() -> None:
    assert index("a.jpg").find("c.jpg") == []
    assert index("a.jpg").find("") == []
    assert index("a.jpg").find("http://[broken/c") == []


def test_many_images_of_one_name_are_told_apart_by_their_paths_alone() -> None:
    many = index(*(f"{number}/a.jpg" for number in range(1000)))
    assert len(many.find("a.jpg")) == MAX_SHARED
    assert many.find("900/a.jpg") == ["900/a.jpg"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp437", "cp850", "cp1252"])
def test_name_without_the_mark_of_utf8_is_read_in_each_encoding(encoding: str) -> None:
    raw = "Théière d'été.jpg".encode(encoding)
    member = zipfile.ZipInfo(raw.decode("cp437"))
    assert "Théière d'été.jpg" in names_of(member)


def test_name_with_the_mark_of_utf8_is_taken_as_it_is() -> None:
    member = zipfile.ZipInfo("Théière.jpg")
    member.flag_bits |= 0x800
    assert names_of(member) == ("Théière.jpg",)


def test_most_literal_name_comes_first() -> None:
    assert list(wanted(" a,b.jpg ")) == ["a,b.jpg", "a"]
