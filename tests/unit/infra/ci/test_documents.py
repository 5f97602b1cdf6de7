"""Documents name files, modules, functions, tables, settings and commands that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from gateway.identity import permissions
from gateway.identity.browser_cookie import CONSOLE
from infra.embedded.programs import programs
from infra.embedded.settings import PROJECT, EmbeddedSettings
from shared.contracts import TOPICS, all_queues
from shared.db.models import Base
from tests.support.settings_groups import settings_groups

DOCS = PROJECT / "infra" / "docs"
PAGES = (*sorted(DOCS.glob("*.md")), PROJECT / "README.md", PROJECT / "CONTRIBUTING.md")
#: Pages that name the tests of security controls.
CONTROLS = (
    DOCS / "security.md",
    PROJECT / "infra" / "decisions" / "0011-meet-owasp-asvs-5-level-2.md",
)
ARCHITECTURE = (DOCS / "architecture.md").read_text()
#: Folders whose paths a page may name.
ROOTS = r"(?:gateway|trainer|shared|infra|tests|worker_text|worker_image|worker_fusion)"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub derives from the headings of a page."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}


@cache
def defined(path: Path) -> set[str]:
    """Return the functions, classes and `Class.method`s that a module defines."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (one for one in node.body if isinstance(one, ast.FunctionDef))
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


@every_page
def test_links_of_a_page_have_targets(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@every_page
def test_paths_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(rf"(?<![\w/.-])({ROOTS}(?:/[\w.-]*\w)+)", page.read_text())
    assert [one for one in sorted(set(named)) if not (PROJECT / one).exists()] == []


@every_page
def test_modules_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(rf"(?:python3? -m |`)({ROOTS}(?:\.\w+)+)(?=[` ])", text))
    named -= {one for one in named if one.rpartition(".")[2] in ("py", "md")}
    missing = [one for one in named if not _module(one)]
    assert missing == []


def _module(name: str) -> bool:
    path = PROJECT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


@every_page
def test_functions_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(rf"({ROOTS}[\w/]+\.py)::([\w.]*\w)", page.read_text()))
    missing = [f"{path}::{name}" for path, name in named if name not in defined(PROJECT / path)]
    assert missing == []


@pytest.mark.parametrize("page", CONTROLS, ids=lambda page: page.stem)
def test_tests_of_a_control_exist(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+?)(?:\.py)?`", page.read_text()))
    assert sorted(named - _tests()) == []


@cache
def _tests() -> set[str]:
    """Return the names of all tests and of their modules."""
    modules = list((PROJECT / "tests").rglob("test_*.py"))
    functions = {name for path in modules for name in defined(path)}
    return functions | {path.stem for path in modules}


def test_walkthroughs_and_recipes_name_functions() -> None:
    for page in ("walkthroughs", "recipes"):
        assert len(re.findall(r"\.py::\w", (DOCS / f"{page}.md").read_text())) > 2


@every_page
def test_make_commands_of_a_page_exist(page: Path) -> None:
    targets = set(
        re.findall(r"^([a-z][a-z0-9-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    )
    named = re.findall(r"(?:^    |`)make ([a-z][a-z0-9-]*)", page.read_text(), re.MULTILINE)
    assert set(named) - targets == set()


@every_page
def test_variables_of_a_page_are_settings(page: Path) -> None:
    places = [PROJECT / "docker-compose.yml", PROJECT / ".env.example"]
    places += (PROJECT / ".github" / "workflows").glob("*.yml")
    elsewhere = "".join(path.read_text() for path in places)
    known = {
        f"{group.model_config.get('env_prefix', '')}{field}".upper()
        for group in settings_groups()
        for field in group.model_fields
    }
    # `RAYON_DRIFT_*` names a group; it must have members.
    named = re.findall(r"\b(RAYON_[A-Z_]*[A-Z])(_\*)?", page.read_text())
    wrong = [
        name
        for name, is_group in set(named)
        if name != "RAYON_X"
        and name not in known
        and not any(one.startswith(f"{name}_") for one in known if is_group)
        and not re.search(rf"\b{name}\b", elsewhere)
    ]
    assert wrong == []


def test_architecture_lists_every_process(tmp_path: Path) -> None:
    started = {
        one.name for one in programs(EmbeddedSettings(home=tmp_path), tmp_path, tmp_path, tmp_path)
    } - {"redis", "mlflow"}
    rows = re.findall(r"^\| ([a-z-]+) \| (?:`python -m|the same, lane)", ARCHITECTURE, re.MULTILINE)
    assert len(started) == 11
    assert sorted(rows) == sorted(started)


def test_architecture_lists_every_table() -> None:
    section = ARCHITECTURE.partition("Tables, by module")[2].partition("Alembic")[0]
    listed = {
        table
        for cell in re.findall(r"^\| `\w+` \| `([\w ]+)` \|$", section, re.MULTILINE)
        for table in cell.split()
    }
    assert listed == set(Base.metadata.tables)


def test_architecture_lists_every_message_with_its_queue() -> None:
    section = ARCHITECTURE.partition("## Messages and queues")[2].partition("## Packages")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w.<>]+)` \|", section, re.MULTILINE))
    assert set(rows) == {kind.__name__ for kind in TOPICS.values()}
    lanes = ("interactive", "catalog")
    queues = {name.replace("<lane>", lane) for name in rows.values() for lane in lanes}
    assert queues == set(all_queues())


def test_architecture_names_every_layer() -> None:
    pyproject = (PROJECT / "pyproject.toml").read_text()
    section = ARCHITECTURE.partition("## Rules that import-linter checks")[2]
    for container in ("gateway", "trainer", "shared", "shared.inference", "trainer.monitoring"):
        block = re.search(
            rf'containers = \["{re.escape(container)}"\].*?layers = \[(.*?)\]\n',
            pyproject,
            re.DOTALL,
        )
        (row,) = re.findall(rf"^\| `{re.escape(container)}` \| (.+) \|$", section, re.MULTILINE)
        assert block is not None
        order = [re.findall(r"\w+", layer) for layer in re.findall(r'"([^"]+)"', block[1])]
        assert [re.findall(r"`(\w+)`", layer) for layer in row.split(" – ")] == order, container


def test_architecture_lists_every_call_of_the_interface() -> None:
    section = ARCHITECTURE.partition("## Public interface")[2]
    listed = re.sub(r"\{\w+\}", "{}", section)
    for _, path in permissions.RULES:
        # Pages of the console are no part of the interface.
        parts = 2 if path.startswith(CONSOLE) else 3
        collection = "/".join(re.sub(r"\{\w+\}", "{}", path).split("/")[:parts])
        assert collection in listed, path
