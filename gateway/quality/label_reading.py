"""Read the labels of a file, and report the rows without a valid one."""

from array import array
from collections.abc import Callable, Iterable, Iterator

from gateway.quality.label_keys import KEYS
from gateway.quality.label_report import LabelReport
from shared.categories import CategorySet
from shared.db.models import ROW_DIGITS
from shared.errors import InvalidInput
from shared.tables.columns import shown
from shared.tables.dataset_tables import CATEGORY, CODE
from shared.tables.form import Form
from shared.tables.rows import Row

#: Beginning of the reason for rejecting a category that the release does not have.
UNKNOWN = "Expected a category of the catalog's release"
#: Codes that the database can store, from 0.
CODES = 2**31
_NO_CODE = -1


def named_code(text: str, known: CategorySet) -> int | None:
    """Return the code that a text states, or that of the category that it names."""
    written = text.strip()
    if written.isdecimal() and len(written) < ROW_DIGITS * 2 and int(written) in known:
        return int(written)
    return known.find(written)


def new_code(text: str) -> int | None:
    """Return the code that a text states, of a category that the release need not have."""
    written = text.strip()
    is_code = written.isdecimal() and len(written) <= len(str(CODES)) and int(written) < CODES
    return int(written) if is_code else None


def key_of(form: Form) -> str:
    """Return the column that identifies the rows of a file of labels. Raises `InvalidInput`."""
    key = next((column for column in KEYS if column in form.fields), None)
    if key is None or not {CODE, CATEGORY} & {*form.fields}:
        raise InvalidInput(
            f"Expected the column `{CODE}` or `{CATEGORY}`, and one of "
            f"{', '.join(f'`{key}`' for key in KEYS)}. Received the columns: {shown(form.columns)}",
            field=("labels",),
        )
    return key


def written_label(row: Row) -> tuple[str, str]:
    """Return the column of a row's label, and the label as written: a code before a name."""
    return next(
        ((column, cell) for column in (CODE, CATEGORY) if (cell := row.get(column).strip())),
        (CODE, ""),
    )


class LabelReader:
    """Read the valid labels of a file, and report its other rows."""

    def __init__(
        self,
        key: str,
        row_number: Callable[[str], int],
        known: CategorySet,
        rows: int,
        report: LabelReport,
        *,
        allows_new: bool = False,
    ) -> None:
        self._key, self._row_number = key, row_number
        self._known, self._report, self._allows_new = known, report, allows_new
        # Eight bytes for each row of the catalog; a dictionary would take a hundred.
        self._codes = array("q", [_NO_CODE]) * (rows + 1)

    def labels(self, rows: Iterable[Row]) -> Iterator[tuple[Row, int, int]]:
        """Yield file row, catalog row and code of the valid labels."""
        for row in rows:
            self._report.rows += 1
            if row.problem is not None:
                problem = row.problem
                self._report.reject(row, problem.column, problem.value, problem.reason)
            elif not written_label(row)[1]:
                self._report.skipped += 1
            elif (found := self._label(row, *written_label(row))) is not None:
                yield row, *found

    def _label(self, row: Row, column: str, written: str) -> tuple[int, int] | None:
        """Return catalog row and code of a label; `None` if it was rejected."""
        cell = row.get(self._key).strip()
        try:
            number = self._row_number(cell)
        except InvalidInput as error:
            self._report.reject(row, self._key, cell, error.detail)
            return None
        code = named_code(written, self._known)
        if code is None and self._allows_new:
            code = new_code(written)
        if code is None:
            also = ", or the code of a new one" if self._allows_new else ""
            reason = f"{UNKNOWN}{also}. Received: {written[:40]!r}"
            self._report.reject(row, column, written, reason)
            return None
        before = self._codes[number]
        if before not in (_NO_CODE, code):
            reason = f"Expected one label for row {number}. Received: {before} before"
            self._report.reject(row, column, written, reason)
            return None
        self._codes[number] = code
        if code not in self._known:
            self._report.count_new(code)
        return number, code
