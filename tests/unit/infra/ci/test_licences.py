"""The page of licences has every package that ships, as its metadata states it."""

import re
import tomllib
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from infra.ci import licences
from infra.ci.licences import Package

PROJECT = Path(__file__).parents[4]
PAGE = licences.PAGE.read_text()
ROWS = re.findall(
    r"^\| ([\w.-]+) \| (\d[\w.]*) \| (.+?) \| .*\|$",
    PAGE.partition(licences.BEGIN)[2],
    re.MULTILINE,
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return the metadata folder of a package without a licence."""
    folder = tmp_path / "shop-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: shop\nVersion: 1.0\n")
    (folder / "RECORD").write_text(
        "shop/LICENSE.txt,,\nshop/licensed.py,,\nshop-1.0.dist-info/COPYING,,\n"
    )
    return folder


def test_page_has_each_locked_version_and_no_other() -> None:
    assert [(name, version) for name, version, _ in ROWS] == [
        (one.name, one.version) for one in licences.locked()
    ]


def test_copyleft_licences_are_named_on_the_page() -> None:
    named = set(re.findall(r"`([\w-]+)`", PAGE.partition("## Copyleft")[2].partition("\n## ")[0]))
    assert named == {name for name, _, licence in ROWS if re.search(r"GPL|MPL|EPL|CDDL", licence)}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("", "not stated in the package's metadata"),
        ("License-Expression: MIT OR Apache-2.0\nLicense: ignored\n", "MIT OR Apache-2.0"),
        (
            "License: BSD\nClassifier: License :: OSI Approved :: BSD License\n",
            "BSD (classifier: BSD License)",
        ),
        ("Classifier: License :: OSI Approved\n", "not stated in the package's metadata"),
        (
            "License: A text\n  of lines\nClassifier: License :: OSI Approved :: ISC\n",
            "ISC (classifier)",
        ),
    ],
)
def test_licence_is_copied_from_the_metadata(installed: Path, metadata: str, expected: str) -> None:
    with (installed / "METADATA").open("a") as file:
        file.write(metadata)
    assert licences.stated_licence(PathDistribution(installed)) == expected


def test_licence_files_are_found_those_of_the_metadata_first(installed: Path) -> None:
    found = [str(one) for one in licences.licence_files(PathDistribution(installed))]
    assert found == ["shop-1.0.dist-info/COPYING", "shop/LICENSE.txt"]


def test_package_that_is_not_installed_has_no_licence_in_the_table() -> None:
    rows = licences.table([Package("no-such-package", "1.0", "sys_platform == 'win32'")])
    assert (
        "| no-such-package | 1.0 | not read: installed only for `sys_platform == 'win32'` |  |"
        in rows
    )


def test_other_version_than_the_installed_one_has_no_licence_in_the_table() -> None:
    assert "| pytest | 0.1 | not read:" in licences.table([Package("pytest", "0.1")])


def test_table_replaces_only_what_stands_between_the_marks() -> None:
    page = f"before\n{licences.BEGIN}old\n{licences.END}after\n"
    assert licences.with_table(page, "new\n") == page.replace("old", "new")


def test_page_without_marks_is_refused() -> None:
    with pytest.raises(SystemExit, match="Expected <!-- begin"):
        licences.with_table("no marks", "rows")


@pytest.mark.parametrize("path", ["pyproject.toml", "shared/client/pyproject.toml"])
def test_project_states_the_licence_of_its_licence_file(path: str) -> None:
    project = tomllib.loads((PROJECT / path).read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (PROJECT / "LICENSE").read_text()
