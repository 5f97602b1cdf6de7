"""The precision dial: which answers of a catalog to accept for a target precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, literal, select
from sqlalchemy.orm import Session

from gateway.catalogs.output.acceptance import Acceptance
from gateway.catalogs.output.answers import answered
from gateway.quality.precision.calibration import (
    IDENTITY,
    Calibration,
    LabelledRows,
    calibrated,
)
from gateway.quality.precision.selection import Bin, Selection, selected, threshold_of
from shared.db.models import Job

#: Labelled answers of a catalog from which on labels correct the confidences.
ENOUGH_LABELS = 100
#: Category of all answers together.
_ALL = 0


@dataclass(frozen=True)
class Precision:
    """Answers that are accepted for a target precision.

    Attributes:
        target: Wanted share of right answers among the accepted ones.
        whole: The selection among all answers.
        by_category: The selection by code, if each category has a threshold of its own.
        labelled: Labelled answers of the catalog.
        is_estimate: True if no labels support the precision, only confidences.
        acceptance: The thresholds.
    """

    target: float
    whole: Selection
    by_category: Mapping[int, Selection]
    labelled: int
    is_estimate: bool
    acceptance: Acceptance


def precision(
    session: Session, catalog_id: str, target: float, *, by_category: bool = False
) -> Precision:
    """Return which answers of a catalog to accept.

    Args:
        session: Reads the answers.
        catalog_id: The catalog.
        target: Wanted share of right answers among the accepted ones, 0 to 1.
        by_category: True for a threshold for each category, so that each reaches the target.
    """
    bins = _bins(session, catalog_id, by_category=by_category)
    labelled = sum(one.labelled for one in bins)
    calibration = _calibration(bins) if labelled >= ENOUGH_LABELS else IDENTITY
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
        is_estimate=labelled < ENOUGH_LABELS,
        acceptance=_acceptance(thresholds, by_category=by_category),
    )


def _bins(session: Session, catalog_id: str, *, by_category: bool) -> Sequence[Bin]:
    """Return the answers by confidence; the index `ix_jobs_catalog_id_confidence` has them all."""
    code = Job.prdtypecode if by_category else literal(_ALL)
    right = func.sum(case((Job.label == Job.prdtypecode, 1), else_=0))
    keys = (Job.prdtypecode, Job.confidence) if by_category else (Job.confidence,)
    query = (
        select(code, Job.confidence, func.count(), func.count(Job.label), right)
        .where(*answered(catalog_id))
        .group_by(*keys)
    )
    return [Bin(*row) for row in session.execute(query)]


def _grouped(bins: Sequence[Bin]) -> Mapping[int, Sequence[Bin]]:
    found: dict[int, list[Bin]] = {}
    for one in bins:
        found.setdefault(one.category, []).append(one)
    return found


def _calibration(bins: Sequence[Bin]) -> Calibration:
    labelled: dict[float, tuple[int, int]] = {}
    for one in bins:
        if one.labelled:
            rows, right = labelled.get(one.confidence, (0, 0))
            labelled[one.confidence] = (rows + one.labelled, right + one.right)
    return calibrated(
        LabelledRows(confidence, *counts) for confidence, counts in sorted(labelled.items())
    )


def _acceptance(thresholds: Mapping[int, float | None], *, by_category: bool) -> Acceptance:
    if not by_category:
        return Acceptance(thresholds.get(_ALL))
    reached = {code: one for code, one in thresholds.items() if one is not None}
    return Acceptance(None, reached)
