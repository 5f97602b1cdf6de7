"""The precision dial: which answers of a catalog to accept for a target precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, literal, select, true
from sqlalchemy.orm import Session

from gateway.catalogs.output.acceptance import Acceptance
from gateway.catalogs.output.answers import answered
from gateway.quality.precision.selection import Bin, Selection, selected, threshold_of
from shared.db.models import Job
from shared.inference.releases.confidence import (
    IDENTITY,
    Calibration,
    HeldOutConfidence,
    LabelledRows,
    calibrated,
)

#: Labelled answers of a catalog from which on labels correct the confidences.
ENOUGH_LABELS = 100
#: Confidences are taken as they are.
UNSTATED = HeldOutConfidence(0, IDENTITY)
#: Category of all answers together.
_ALL = 0
#: Number of answers, of labelled ones among them, and of right ones among those.
Counts = tuple[int, int, int]
_NONE: Counts = (0, 0, 0)


@dataclass(frozen=True)
class Precision:
    """Answers that are accepted for a target precision.

    Attributes:
        target: Wanted share of right answers among the accepted ones.
        whole: The selection among all answers.
        by_category: The selection by code, if each category has a threshold of its own.
        labelled: Labelled answers of the catalog, without foreign products.
        is_estimate: True if no labels of the catalog support the precision.
        held_out: Held-out products by which the release corrects confidences; 0 for none.
        acceptance: The thresholds.
    """

    target: float
    whole: Selection
    by_category: Mapping[int, Selection]
    labelled: int
    is_estimate: bool
    held_out: int
    acceptance: Acceptance


def precision(
    session: Session,
    catalog_id: str,
    target: float,
    *,
    by_category: bool = False,
    stated: HeldOutConfidence = UNSTATED,
) -> Precision:
    """Return which answers of a catalog to accept.

    Args:
        session: Reads the answers.
        catalog_id: The catalog.
        target: Wanted share of right answers among the accepted ones, 0 to 1.
        by_category: True for a threshold for each category, so that each reaches the target.
        stated: Statement of the release about its confidences.
    """
    bins = _bins(session, catalog_id, by_category=by_category)
    labelled = sum(one.labelled for one in bins if not one.is_foreign)
    is_estimate = labelled < ENOUGH_LABELS
    calibration = stated.calibration if is_estimate else _calibration(bins, stated.calibration)
    groups = _grouped(bins)
    thresholds = {code: threshold_of(group, target, calibration) for code, group in groups.items()}
    return Precision(
        target=target,
        whole=selected(bins, thresholds, calibration),
        by_category={
            code: selected(group, thresholds, calibration) for code, group in groups.items()
        }
        if by_category
        else {},
        labelled=labelled,
        is_estimate=is_estimate,
        held_out=stated.rows,
        acceptance=_acceptance(thresholds, by_category=by_category),
    )


def _bins(session: Session, catalog_id: str, *, by_category: bool) -> Sequence[Bin]:
    """Return the answers by confidence.

    The index `ix_jobs_catalog_id_confidence` has them all, and `ix_jobs_catalog_id_foreign` those
    to products that seem foreign, which are few.
    """
    counted = _counted(session, catalog_id, by_category=by_category)
    foreign = _counted(session, catalog_id, Job.is_foreign == true(), by_category=by_category)
    known = {key: _less(counts, foreign.get(key, _NONE)) for key, counts in counted.items()}
    return [
        *(Bin(*key, *counts) for key, counts in known.items() if counts[0] > 0),
        *(Bin(*key, *counts, is_foreign=True) for key, counts in foreign.items()),
    ]


def _counted(
    session: Session, catalog_id: str, *conditions: ColumnElement[bool], by_category: bool
) -> dict[tuple[int, float], Counts]:
    code = Job.prdtypecode if by_category else literal(_ALL)
    right = func.sum(case((Job.label == Job.prdtypecode, 1), else_=0))
    keys = (Job.prdtypecode, Job.confidence) if by_category else (Job.confidence,)
    query = (
        select(code, Job.confidence, func.count(), func.count(Job.label), right)
        .where(*answered(catalog_id), *conditions)
        .group_by(*keys)
    )
    return {
        (row[0] or 0, row[1]): (row[2], row[3], int(row[4] or 0)) for row in session.execute(query)
    }


def _less(counts: Counts, others: Counts) -> Counts:
    rows, labelled, right = (one - other for one, other in zip(counts, others, strict=True))
    # Answers that came between the two queries may be counted once only.
    return max(rows, 0), max(labelled, 0), max(right, 0)


def _grouped(bins: Sequence[Bin]) -> Mapping[int, Sequence[Bin]]:
    found: dict[int, list[Bin]] = {}
    for one in bins:
        found.setdefault(one.category, []).append(one)
    return found


def _calibration(bins: Sequence[Bin], expected: Calibration) -> Calibration:
    labelled: dict[float, tuple[int, int]] = {}
    for one in bins:
        if one.labelled and not one.is_foreign:
            rows, right = labelled.get(one.confidence, (0, 0))
            labelled[one.confidence] = (rows + one.labelled, right + one.right)
    found = [LabelledRows(confidence, *counts) for confidence, counts in sorted(labelled.items())]
    return calibrated(found, expected)


def _acceptance(thresholds: Mapping[int, float | None], *, by_category: bool) -> Acceptance:
    if not by_category:
        return Acceptance(thresholds.get(_ALL))
    reached = {code: one for code, one in thresholds.items() if one is not None}
    return Acceptance(None, reached)
