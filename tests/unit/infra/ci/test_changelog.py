"""The changelog has dated versions in groups, and a version is tagged with its section."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[4]
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text()
HEADINGS = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
IN_A_NEW_TREE = """\
# Changelog

## [Unreleased]

## [1.10.0] - 2026-02-01

### Fixed

- The tenth.

## [1.1.0] - 2026-01-01

### Added

- The first.
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a repository on main with the scripts, a changelog and version 1.1.0."""
    scripts = tmp_path / "infra" / "ci"
    scripts.mkdir(parents=True)
    for name in ("notes.sh", "tag.sh"):
        shutil.copy(PROJECT / "infra" / "ci" / name, scripts)
    (tmp_path / "CHANGELOG.md").write_text(IN_A_NEW_TREE)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.1.0"\n')
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    return tmp_path


def git(tree: Path, *arguments: str) -> str:
    ended = subprocess.run(
        ["git", *arguments], cwd=tree, check=True, capture_output=True, text=True
    )
    return ended.stdout


def commit(tree: Path) -> None:
    git(tree, "config", "user.name", "Ada")
    git(tree, "config", "user.email", "ada@example.org")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "--no-verify", "-m", "A commit")


def notes(tree: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(tree / "infra/ci/notes.sh"), version]
    return subprocess.run(command, capture_output=True, text=True)


def tag(tree: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = ["env", f"VERSION={version}", "bash", str(tree / "infra/ci/tag.sh")]
    return subprocess.run(command, capture_output=True, text=True)


def test_changelog_begins_with_unreleased_then_has_dated_versions() -> None:
    assert HEADINGS[0] == "[Unreleased]"
    dates = [
        re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", one) for one in HEADINGS[1:]
    ]
    found = [([int(part) for part in one.groups()[:3]], one[4]) for one in dates if one]
    assert len(found) == len(HEADINGS) - 1
    assert found == sorted(found, reverse=True)


def test_changelog_groups_are_those_of_keep_a_changelog() -> None:
    groups = set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE))
    assert groups <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_version_of_the_project_has_a_section() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    shown = notes(PROJECT, version)
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"Rayon {version}\n\n### ")


def test_notes_are_the_section_of_one_version(tree: Path) -> None:
    assert notes(tree, "1.1.0").stdout == "Rayon 1.1.0\n\n### Added\n\n- The first.\n"
    assert notes(tree, "1.10.0").stdout == "Rayon 1.10.0\n\n### Fixed\n\n- The tenth.\n\n"


@pytest.mark.parametrize("version", ["1.1", "2.0.0", ""])
def test_notes_of_a_version_without_a_section_are_refused(tree: Path, version: str) -> None:
    shown = notes(tree, version)
    assert shown.returncode == 1
    assert f"## [{version}] - DATE" in shown.stderr


def test_tag_has_the_notes_as_its_message(tree: Path) -> None:
    tagged = tag(tree, "1.1.0")
    assert tagged.returncode == 0, tagged.stderr
    assert git(tree, "tag", "--list", "--format=%(contents)").startswith(
        "Rayon 1.1.0\n\n### Added\n\n- The first.\n"
    )


def test_tag_needs_the_version_of_the_project(tree: Path) -> None:
    refused = tag(tree, "1.10.0")
    assert refused.returncode == 1
    assert 'Expected version = "1.10.0" in pyproject.toml' in refused.stderr


@pytest.mark.parametrize("heading", ["## 1.1.0", "## [1.1.0]", "## [1x1.0] - 2026-01-01"])
def test_tag_needs_a_dated_section(tree: Path, heading: str) -> None:
    changelog = tree / "CHANGELOG.md"
    changelog.write_text(IN_A_NEW_TREE.replace("## [1.1.0] - 2026-01-01", heading))
    commit(tree)
    refused = tag(tree, "1.1.0")
    assert refused.returncode == 1
    assert "Expected a section" in refused.stderr
    assert git(tree, "tag", "--list") == ""


def test_tag_needs_a_clean_main(tree: Path) -> None:
    git(tree, "switch", "--quiet", "--create", "other")
    assert "Expected the branch main" in tag(tree, "1.1.0").stderr
    git(tree, "switch", "--quiet", "main")
    (tree / "new").touch()
    assert "Expected no uncommitted changes" in tag(tree, "1.1.0").stderr
    assert git(tree, "tag", "--list") == ""
