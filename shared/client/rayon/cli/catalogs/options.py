"""Options of `rayon catalog`: where its results go, and which columns are stated."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from typer import BadParameter

from rayon.catalogs import FORMATS, Catalog, ResultFormat

#: Share of degraded answers above which the exit code is 1. One bad image among many is no failure
#: of a catalog, but one in ten indicates a wrong archive or column.
MAX_DEGRADED = 0.1
#: Suffixes of formats that results are not written in.
OTHER_FORMATS = frozenset({".json", ".xls", ".xlsm", ".xlsb", ".ods", ".gz", ".zip"})


@dataclass(frozen=True)
class Wanted:
    """Destinations of a catalog's results, and the options to repeat in a printed command."""

    out: Path | None
    errors: Path | None
    format: ResultFormat | None
    bom: bool | None
    max_degraded: float
    as_json: bool
    url: str | None
    target: float | None = None
    by_category: bool = False

    @property
    def kind(self) -> ResultFormat:
        """Format of the results."""
        suffix = self.out.suffix.lower() if self.out else ""
        return self.format or FORMATS.get(suffix, "csv")

    def require_writable(self) -> None:
        """Check formats and folders before hours of classifying, not after."""
        for path in (self.out, self.errors):
            if path is not None and not path.absolute().parent.is_dir():
                raise BadParameter(
                    f"Expected an existing folder. Received: {path.absolute().parent}"
                )
        suffix = self.out.suffix.lower() if self.out else ""
        if self.format is None and suffix in OTHER_FORMATS:
            raise BadParameter(
                f"Expected --out as .csv, .jsonl or .xlsx, or --format. Received: {suffix}"
            )
        if self.bom is not None and self.kind != "csv":
            raise BadParameter(f"--bom and --no-bom need CSV. Received: {self.kind}")
        if self.by_category and self.target is None:
            raise BadParameter("--by-category needs --target.")

    def command(self, catalog: Catalog, *more: str) -> str:
        """Return the command that resumes a catalog."""
        words = ["rayon", "catalog", "--resume", catalog.id, *more]
        words += ["--out", str(self.out)] if self.out else []
        words += ["--errors", str(self.errors)] if self.errors else []
        words += ["--format", self.format] if self.format else []
        words += ["--bom" if self.bom else "--no-bom"] if self.bom is not None else []
        words += ["--target", f"{self.target:g}"] if self.target is not None else []
        words += ["--by-category"] if self.by_category else []
        is_usual = self.max_degraded == MAX_DEGRADED
        words += [] if is_usual else ["--max-degraded", f"{self.max_degraded:g}"]
        words += ["--json"] if self.as_json else []
        words += ["--url", self.url] if self.url else []
        return shlex.join(words)


def require_resumed(chosen: list[str], resume: str | None) -> None:
    """Check that at most one option says which rows of a resumed catalog run again."""
    if chosen and not resume:
        raise BadParameter(f"{chosen[0]} requires --resume ID.")
    if len(chosen) > 1:
        raise BadParameter(f"Expected only one of {', '.join(chosen)}.")


def stated_columns(stated: list[str]) -> dict[str, str]:
    """Return the column by field of options such as `designation=Nom`."""
    columns = {}
    for one in stated:
        field, mark, column = one.partition("=")
        if not (field.strip() and mark and column.strip()):
            raise BadParameter(f"Expected --column FIELD=COLUMN. Received: {one!r}")
        if field.strip() in columns:
            raise BadParameter(f"Expected one --column for {field.strip()!r}. Received: two")
        columns[field.strip()] = column
    return columns
