"""Finds the files of a dataset in a folder: under known names, or one table with images."""

import zipfile
from pathlib import Path

from shared.archives import BROKEN, is_litter
from shared.errors import InvalidInput
from shared.image_formats import SUFFIXES
from shared.tables.unpack import TABLE_SUFFIXES, is_workbook

#: Names of products and labels in both layouts, the simple one first.
SIMPLE = ("products.csv", "labels.csv")
CHALLENGE = ("X_train_update.csv", "Y_train_CVw08PX.csv")
#: Names of the other files of a dataset, which are no tables of products.
_OTHERS = (
    *(SIMPLE[1], *CHALLENGE, "categories.csv", "splits.csv", "image_only.csv"),
    *("X_test_update.csv", "Y_test_consensus.csv"),
)
#: Tables that an error lists.
_LISTED = 10


def root_of(path: Path) -> Path:
    """Return the folder of a dataset that is given as a folder or as its table."""
    return path.parent if path.is_file() else path


def table_file(path: Path, name: str) -> Path:
    """Return the path of a table by its name, with any suffix of a table; it may not exist.

    Args:
        path: Dataset: a folder, or its table.
        name: Name with the suffix `.csv`.
    """
    folder = root_of(path)
    if (folder / name).exists() or not folder.is_dir():
        return folder / name
    stem = Path(name).stem
    found = [one for one in _tables(folder) if one.stem == stem]
    return found[0] if len(found) == 1 else folder / name


def product_tables(path: Path) -> tuple[Path, Path | None]:
    """Return the paths of products and labels; no labels if they are in the table of products.

    Args:
        path: Dataset: a folder, or its table.

    Raises:
        InvalidInput: The folder has no table of products, or several.
    """
    if path.is_file():
        return path, None
    products, labels = (table_file(path, name) for name in SIMPLE)
    if products.exists():
        return products, labels if labels.exists() else None
    first, second = (path / name for name in CHALLENGE)
    if first.exists() or second.exists():
        return first, second
    return _only_table(path), labels if labels.exists() else None


def image_folders(path: Path) -> list[Path]:
    """Return the folders that may have images: `images`, else the whole folder of one table."""
    folder = root_of(path)
    if (folder / "images").is_dir():
        return [folder / "images"]
    has_names = any((folder / name).exists() for name in (*SIMPLE[:1], *CHALLENGE))
    is_one_table = path.is_dir() and not has_names and not (folder / "images.zip").exists()
    return [folder] if is_one_table else []


def image_archives(path: Path) -> list[Path]:
    """Return the archives of images: known ones, those beside a table, or that of the table."""
    folder = root_of(path)
    known = [*_archives(folder / "images"), folder / "images.zip"]
    others = [path] if path.is_file() else _archives(folder)
    found = [one for one in others if one not in known and packs_images(one)]
    return [one for one in known if one.is_file()] + found


def packs_images(path: Path) -> bool:
    """Return True if a file is a ZIP archive with images."""
    return any(Path(name).suffix.lower() in SUFFIXES for name in _members(path) or ())


def _archives(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.suffix.lower() == ".zip"]


def _only_table(folder: Path) -> Path:
    reserved = {Path(name).stem for name in _OTHERS}
    found = [path for path in _tables(folder) if path.stem not in reserved]
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:_LISTED]) or "none"
        raise InvalidInput(
            f"Expected {SIMPLE[0]}, {CHALLENGE[0]} or one table in {folder.name}. Received: {names}"
        )
    return found[0]


def _tables(folder: Path) -> list[Path]:
    """Return the files that are tables by their suffix, and the archives with a table."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return [path for path in files if path.suffix.lower() in TABLE_SUFFIXES or _has_table(path)]


def _has_table(path: Path) -> bool:
    names = _members(path) if path.suffix.lower() == ".zip" else None
    return any(Path(name).suffix.lower() in TABLE_SUFFIXES for name in names or ())


def _members(path: Path) -> list[str] | None:
    """Return the names of an archive's members; `None` for a workbook or another file."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = [one for one in archive.infolist() if not is_litter(one)]
    except (*BROKEN, OSError):
        return None
    names = [one.filename for one in members if not one.is_dir()]
    return None if is_workbook(names) else names
