"""Answers that are accepted without a review: those with enough confidence."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, case, false, or_

from shared.db.models import Job

#: Threshold above every confidence, for categories without accepted answers.
NOTHING = 2.0


@dataclass(frozen=True)
class Acceptance:
    """Thresholds of the confidence, from which upwards answers are accepted.

    An answer that a label contradicts, or to a product that seems foreign, is not accepted,
    however confident it is.

    Attributes:
        threshold: The threshold of all categories; `None` to accept nothing.
        by_category: Thresholds by code, which replace the common one; no answer of another code is
            accepted.
    """

    threshold: float | None
    by_category: Mapping[int, float] | None = None

    def accepts(
        self,
        code: int | None,
        confidence: float | None,
        label: int | None,
        is_foreign: bool | None = None,
    ) -> bool:
        """Return True if an answer is accepted. An answer without confidence is not."""
        if code is None or confidence is None or is_foreign:
            return False
        threshold = self.threshold
        if self.by_category is not None:
            threshold = self.by_category.get(code)
        return threshold is not None and confidence >= threshold and label in (None, code)

    def condition(self) -> ColumnElement[bool]:
        """Return the condition that selects the accepted jobs among those with an answer."""
        is_acceptable = and_(
            or_(Job.label.is_(None), Job.label == Job.prdtypecode), Job.is_foreign.is_not(True)
        )
        if self.by_category is None:
            if self.threshold is None:
                return false()
            return and_(Job.confidence >= self.threshold, is_acceptable)
        if not self.by_category:
            return false()
        lowest = case(dict(self.by_category), value=Job.prdtypecode, else_=NOTHING)
        return and_(Job.confidence >= lowest, is_acceptable)
