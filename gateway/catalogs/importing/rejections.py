"""Count the rejected rows of a table by reason, with the first ones as examples."""

from typing import Any

from shared.tables.form import Form
from shared.tables.rows import Problem, Row

#: Reasons that are told apart, and examples of each.
REASONS = 30
EXAMPLES = 5
#: Code under which the rows of all further reasons are counted.
OTHERS = "others"


class Rejections:
    """Collects rejected rows by their column and reason."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._found: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, row: Row, problem: Problem) -> None:
        """Count a rejected row."""
        column = self._form.used.get(problem.column or "", problem.column or "")
        code = problem.code
        # The received values of a group differ from row to row, so its reason omits them.
        reason = problem.reason.partition(" Received:")[0]
        if (column, code) not in self._found and len(self._found) >= REASONS:
            column, code, reason = "", OTHERS, "Other reasons"
        fresh = {"column": column, "code": code, "reason": reason, "count": 0, "examples": []}
        group = self._found.setdefault((column, code), fresh)
        group["count"] += 1
        if len(group["examples"]) < EXAMPLES:
            example = {"row": row.number, "line": row.line, "value": problem.value}
            group["examples"].append(example)

    def report(self) -> list[dict[str, Any]]:
        """Return the groups, the largest first."""
        return sorted(self._found.values(), key=lambda group: -group["count"])
