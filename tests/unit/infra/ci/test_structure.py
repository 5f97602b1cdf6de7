"""Figures of the code's structure are measured on small packages, written for each test."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from infra.ci.structure.__main__ import main
from infra.ci.structure.checkout import Checkout
from infra.ci.structure.findings import (
    CYCLES,
    FLAT,
    LATE,
    MOST_MODULES,
    PICTURE,
    QUESTIONS,
    findings,
    import_graph,
)
from infra.ci.structure.imports import ImportGraph
from infra.ci.structure.report import Figures, Table, compared, package_table, total_table
from infra.ci.structure.syntax import undocumented

SETTINGS = """
[tool.ruff]
src = [".", "infra/client"]
extend-exclude = ["infra/migrations/versions"]

[tool.importlinter]
root_packages = ["infra", "buyer"]
"""
FROZEN = "`picture` in code, frozen names"

Write = Callable[[dict[str, str]], Checkout]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a checkout whose packages have the names of this project's own."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    def _write(files: dict[str, str]) -> Checkout:
        packages = {"infra/__init__.py": '"""I."""', "infra/client/buyer/__init__.py": '"""B."""'}
        for name, text in (packages | {"pyproject.toml": SETTINGS} | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Checkout(tmp_path)

    return _write


def modules(*names: str, imports: Sequence[tuple[str, str]]) -> ImportGraph:
    return ImportGraph(frozenset(names), dict.fromkeys(imports, 1))


def found(checkout: Checkout, kind: str) -> list[str]:
    return [str(place) for place in findings(checkout, import_graph(checkout))[kind]]


def test_cycle_that_a_late_import_hides_is_found(write: Write) -> None:
    late = "import os\ndef load():\n    from infra import first\n    return first, os\n"
    checkout = write({"infra/first.py": "from infra import second\n", "infra/second.py": late})
    assert found(checkout, CYCLES) == ["infra/first.py:1: infra.first, infra.second"]
    assert found(checkout, LATE) == ["infra/second.py:3: from infra import first"]


def test_cycle_inside_a_package_that_lies_in_another_ones_folder_is_found(write: Write) -> None:
    checkout = write(
        {
            "infra/client/buyer/cart.py": "\nfrom buyer import order\n",
            "infra/client/buyer/order.py": "from buyer.cart import cart\n",
        }
    )
    assert found(checkout, CYCLES) == ["infra/client/buyer/cart.py:2: buyer.cart, buyer.order"]


def test_imports_in_one_direction_are_no_cycle(write: Write) -> None:
    checkout = write({"infra/first.py": "from infra import second\n", "infra/second.py": ""})
    assert found(checkout, CYCLES) == []


def test_late_import_of_another_library_is_free(write: Write) -> None:
    checkout = write({"infra/first.py": "def load():\n    import json\n    return json\n"})
    assert found(checkout, LATE) == []


@pytest.mark.parametrize("line", ["import buyer.cart", "from . import cart"])
def test_late_import_is_found_in_every_form(write: Write, line: str) -> None:
    text = f"class Cart:\n    async def load(self):\n        {line}\n"
    checkout = write({"infra/client/buyer/shop.py": text, "infra/client/buyer/cart.py": ""})
    assert found(checkout, LATE) == [f"infra/client/buyer/shop.py:3: {line}"]


def test_command_may_import_late(write: Write) -> None:
    late = "def load():\n    from infra.backup import first\n    return first\n"
    files = {"infra/backup/__init__.py": "", "infra/backup/first.py": ""}
    checkout = write(files | {"infra/backup/__main__.py": late})
    assert found(checkout, LATE) == []
    assert len(found(checkout, "late first-party imports, allowed")) == 1


def test_longest_chain_counts_modules_and_a_cycle_once() -> None:
    edges = [("p.a", "p.b"), ("p.b", "p.c"), ("p.c", "p.b"), ("p.c", "p.d"), ("p.a", "p.d")]
    chain = modules("p.a", "p.b", "p.c", "p.d", "p.e", imports=edges).longest_chain
    assert chain == [{"p.d"}, {"p.b", "p.c"}, {"p.a"}]


def test_edges_count_pairs_of_modules_and_arrows_pairs_of_areas() -> None:
    edges = [("p.x.a", "p.y.c"), ("p.x.b", "p.y.c"), ("p.x.a", "p.x.b"), ("p.main", "p.x.a")]
    graph = modules("p.x.a", "p.x.b", "p.y.c", "p.main", "q.z", imports=edges).of("p")
    assert graph.areas == {"p.x", "p.y", "p.main"}
    assert graph.crossing == {edges[0], edges[1], edges[3]}
    assert graph.arrows == {("p.x", "p.y"), ("p.main", "p.x")}


def test_packages_are_those_of_the_checkout_and_not_of_the_running_code(write: Write) -> None:
    checkout = write({"infra/first.py": "", "infra/client/buyer/cart.py": ""})
    graph = import_graph(checkout)
    assert graph.modules == {"infra", "infra.first", "buyer", "buyer.cart"}
    assert package_table(Figures(checkout)) == {
        "infra": ["1", "1", "2", "0", "0", "1"],
        "buyer": ["1", "1", "2", "0", "0", "1"],
    }


def test_folder_of_too_many_modules_is_found(write: Write) -> None:
    full = {f"infra/full/m{number}.py": "" for number in range(MOST_MODULES)}
    versions = {f"infra/migrations/versions/v{number}.py": "" for number in range(99)}
    files = full | versions | {"infra/full/__init__.py": ""}
    assert found(write(files), FLAT) == []
    checkout = write(files | {"infra/full/more.py": ""})
    assert found(checkout, FLAT) == ["infra/full/__init__.py:1: 21 modules"]
    assert package_table(Figures(checkout))["infra"][:2] == ["21", "21 full"]


def test_length_of_a_function_includes_its_docstring_and_no_decorator(write: Write) -> None:
    short = "def short():\n    return 1\n"
    lines = "".join(f"    x = {number}\n" for number in range(39))
    long = f'@cache\n@other\ndef long():\n    """Return."""\n{lines}'
    checkout = write({"infra/first.py": short * 8 + long, "tests/test_first.py": short})
    table = total_table(Figures(checkout))
    assert table["functions"] == ["9", "1"]
    assert table["function lines, docstring included: median"] == ["2", "2"]
    assert table["  90th percentile"] == ["41", "2"]
    assert table["  longest"] == ["41", "2"]
    assert table["  share above 40, %"] == ["11.1", "0.0"]
    assert found(checkout, "functions above 40 lines") == ["infra/first.py:19: long: 41 lines"]


def test_median_is_the_middle_and_not_the_mean(write: Write) -> None:
    text = "def one(): ...\n" * 3 + "def two():\n    x = 1\n    return x\n" * 2
    table = total_table(Figures(write({"infra/first.py": text})))
    assert table["function lines, docstring included: median"] == ["1", "–"]
    assert table["  90th percentile"][0] == "3"


@pytest.mark.parametrize(
    ("docstring", "is_found"),
    [
        ("What is kept.", True),
        ("Whether it is kept.", True),
        ("Who keeps it.", True),
        ("How it is kept.", True),
        ("Whatever is kept.", False),
        ("Return what is kept.", False),
    ],
)
def test_docstring_that_begins_with_a_question_word_is_found(
    write: Write, docstring: str, is_found: bool
) -> None:
    text = f'"""Module."""\n\nclass Shop:\n    def _keep(self):\n        """{docstring}"""\n'
    checkout = write({"infra/first.py": text, "tests/test_first.py": text})
    expected = [f"{path}:5: {docstring}" for path in ("infra/first.py", "tests/test_first.py")]
    assert found(checkout, QUESTIONS) == (expected if is_found else [])


def test_public_names_need_a_docstring_and_private_ones_do_not(write: Write) -> None:
    text = """
class Shop:
    def sell(self):
        def inner(): ...
    def _buy(self): ...
    @property
    def price(self):
        "The price."
    @price.setter
    def price(self, value): ...
class _Hidden:
    def sell(self): ...
"""
    checkout = write({"infra/first.py": text})
    [source] = [one for one in checkout.python if one.path == "infra/first.py"]
    places = [f"{place.line} {place.text}" for place in undocumented(source)]
    assert places == ["1 the module", "2 Shop", "3 sell"]


def test_word_is_found_in_code_and_file_names(write: Write) -> None:
    checkout = write({"infra/pictures.py": "\nPICTURE_SIZE = a_picture\n", "README.md": "Picture"})
    line = "infra/pictures.py:2: PICTURE_SIZE = a_picture"
    assert found(checkout, PICTURE) == ["infra/pictures.py:1: infra/pictures.py", line, line]
    assert found(checkout, "`picture` in documents and settings") == ["README.md:1: Picture"]


def test_frozen_name_is_allowed_and_its_neighbour_is_not(write: Write) -> None:
    first, second = 'uri = "pictures/aa"', 'uri = f"pictures/{picture}"'
    checkout = write({"tests/test_first.py": f"{first}\n{second}\n"})
    assert found(checkout, PICTURE) == [f"tests/test_first.py:2: {second}"]
    frozen = [f"tests/test_first.py:1: {first}", f"tests/test_first.py:2: {second}"]
    assert found(checkout, FROZEN) == frozen


def test_name_that_is_frozen_elsewhere_is_not_allowed(write: Write) -> None:
    line = 'FOLDER = "pictures"'
    checkout = write({"infra/first.py": f"{line}\n", "tests/test_first.py": f"{line}\n"})
    assert found(checkout, PICTURE) == [f"infra/first.py:1: {line}"]
    assert found(checkout, FROZEN) == [f"tests/test_first.py:1: {line}"]


def test_files_that_git_ignores_or_that_are_gone_are_not_read(write: Write) -> None:
    checkout = write({".gitignore": "var/\n", "var/old.py": "picture", "infra/first.py": "picture"})
    subprocess.run(["git", "add", "--all"], cwd=checkout.folder, check=True)
    (checkout.folder / "infra/first.py").unlink()
    assert found(checkout, PICTURE) == []


def test_equal_lines_of_two_files_are_duplicates(write: Write) -> None:
    block = "".join(f"value_{number} = compute({number})\n" for number in range(7))
    checkout = write({"infra/first.py": block, "infra/second.py": block + "other = 1\n"})
    (number, listed), (of_tests, _) = Figures(checkout).duplicates
    assert (number, of_tests) == (7, 0)
    assert "==infra/first.py:[0:7]" in listed


def test_equal_imports_and_docstrings_are_no_duplicates(write: Write) -> None:
    names = "".join(f"    name_{number},\n" for number in range(7))
    text = f'"""One\n\n\ntwo\nthree\nfour\nfive\n"""\n\nfrom infra import (\n{names})\n'
    checkout = write({"infra/first.py": text, "infra/second.py": text})
    assert [number for number, _ in Figures(checkout).duplicates] == [0, 0]


def test_figures_of_two_checkouts_stand_side_by_side() -> None:
    before: Table = {"gateway": ["53", "9"], "gone": ["1", "1"]}
    after: Table = {"gateway": ["17", "9"]}
    assert compared([before, after]) == {"gateway": ["53 → 17", "9 → 9"], "gone": ["1 → –"] * 2}


def test_check_names_place_expectation_and_finding(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = write({"infra/first.py": '"""What it is."""\n'})
    assert main(["--check", str(checkout.folder)]) == 1
    assert capsys.readouterr().out == (
        "infra/first.py:1: Expected a docstring that begins with a verb or a noun phrase. "
        "Found: What it is.\n"
    )


def test_check_of_a_tree_within_its_limits_passes_silently(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = write({"infra/first.py": '"""Shop."""\n\nfrom infra import second\n'})
    write({"infra/second.py": '"""Shelf."""\n'})
    assert main(["--check", str(checkout.folder)]) == 0
    assert capsys.readouterr().out == ""


def test_command_prints_tables_and_places(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = write({"infra/first.py": '"""What it is."""\n'})
    assert main(["--list", str(checkout.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["infra", "1", "1", "2", "0", "0", "1"] in [line.split() for line in lines]
    at = lines.index(f"{QUESTIONS}: 1")
    assert lines[at + 1] == "infra/first.py:1: What it is."
