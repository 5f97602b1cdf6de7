"""Write the licences of the installed Python packages to `infra/docs/licences.md`: `make licences`.

The list has every package of the locks that ship, in the embedded system or in a container image.
Licences are copied from the metadata of the installed packages, never looked up or guessed.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePath

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "infra" / "docs" / "licences.md"
#: `run` covers the embedded system and the images of the services; `mlflow`, the registry's image.
LOCKS = ("run", "mlflow")
BEGIN, END = "<!-- begin: make licences -->\n", "<!-- end: make licences -->\n"
NOT_STATED = "not stated in the package's metadata"
_REQUIREMENT = re.compile(r"^([\w.-]+)==([^\s;]+)(?: ; ([^\\]+?))? \\?$", re.MULTILINE)
_LICENCE_FILE = re.compile(
    r"(licen[cs]es?|copying|notices?|third.?party[\w-]*)([._-][\w.-]*)?(?<!\.py)", re.IGNORECASE
)
_CLASSIFIER = re.compile(r"License :: (?:OSI Approved :: )?(?!OSI Approved$)(.+)")
#: Some packages put the whole text of their licence into the field `License`.
_LONGEST_NAME = 60


@dataclass(frozen=True, order=True)
class Package:
    """A locked version.

    Args:
        name: Name of the package.
        version: Locked version.
        marker: Condition for installing it, such as a platform; empty if it is always installed.
        lock: Name of the first lock that has it.
    """

    name: str
    version: str
    marker: str = ""
    lock: str = LOCKS[0]


def main() -> int:
    """Rewrite the table of the page; return the exit code."""
    text = PAGE.read_text()
    PAGE.write_text(with_table(text, table(locked())))
    print(f"{PAGE.relative_to(PROJECT)} has the licences of {len(locked())} packages")  # noqa: T201
    return 0


def locked() -> list[Package]:
    """Return the packages of the locks that ship, each version once."""
    found: dict[tuple[str, str], Package] = {}
    for lock in LOCKS:
        text = (PROJECT / "requirements" / f"{lock}.txt").read_text()
        for name, version, marker in _REQUIREMENT.findall(text):
            found.setdefault((name, version), Package(name, version, marker, lock))
    return sorted(found.values())


def with_table(page: str, rows: str) -> str:
    """Replace what stands between the two marks of a page."""
    before, found, rest = page.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise SystemExit(f"Expected {BEGIN.strip()} and {END.strip()} in {PAGE}")
    return f"{before}{BEGIN}{rows}{END}{after}"


def table(packages: list[Package]) -> str:
    """Return a Markdown table: package, version, licence, and where its text is."""
    rows = ["| package | version | licence | text, in `site-packages` |", "|---|---|---|---|"]
    rows += [f"| {one.name} | {one.version} | {' | '.join(_described(one))} |" for one in packages]
    return "\n".join(["", *rows, "", ""])


def stated_licence(package: Distribution) -> str:
    """Return the licence as the metadata states it: expression, field and classifiers."""
    metadata = package.metadata
    if expressions := metadata.get_all("License-Expression"):
        return str(expressions[0])
    field = (metadata.get_all("License") or [""])[0].strip()
    classifiers = metadata.get_all("Classifier") or []
    names = [found[1] for one in classifiers if (found := _CLASSIFIER.match(one))]
    if not field or len(field) > _LONGEST_NAME or "\n" in field:
        return f"{', '.join(names)} (classifier)" if names else NOT_STATED
    return f"{field} (classifier: {', '.join(names)})" if names else field


def licence_files(package: Distribution) -> Iterator[PurePath]:
    """Find the licence texts and notices that a package installs, those of its metadata first."""
    files = [one for one in package.files or [] if _LICENCE_FILE.fullmatch(one.name)]
    yield from sorted(
        files, key=lambda one: (".dist-info" not in one.parts[0], len(one.parts), one)
    )


def _described(package: Package) -> tuple[str, str]:
    try:
        found = distribution(package.name)
    except PackageNotFoundError:
        return _absent(package)
    if found.version != package.version:
        return _absent(package)
    texts = list(licence_files(found))
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    return stated_licence(found), f"`{texts[0]}`{more}" if texts else "none installed"


def _absent(package: Package) -> tuple[str, str]:
    condition = f"`{package.marker}`" if package.marker else f"`requirements/{package.lock}.txt`"
    return f"not read: installed only for {condition}", ""


if __name__ == "__main__":
    sys.exit(main())
