"""Estimate of the accuracy of the release before, on which the comparison of answers depends."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import fmean

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.contracts import Modality
from shared.db.models import DriftWindow, Performance, Promotion, now
from shared.inference.manifest import ReleaseManifest
from shared.lifecycle.alerts import has_changed
from trainer.monitoring.alert_state import changed_since
from trainer.monitoring.performance.figures import LABELLED
from trainer.monitoring.promotion_watch.looks import FIRST_ROWS
from trainer.monitoring.promotion_watch.measures import AGREEMENTS, Pair
from trainer.monitoring.promotion_watch.replies import ANSWER

#: Age of the newest figure from labels that still describes the release.
LABELLED_DAYS = timedelta(days=62)


def accuracy_before(
    session: Session, line: Promotion, manifest: ReleaseManifest, pairs: Sequence[Pair]
) -> dict[str, float | None]:
    """Return the accuracy of the release before by modality, `None` where nothing estimates it.

    It is the lowest of several figures, since a release that was good in the past may be bad for
    what comes now, and the new one may have been trained for that reason: its mean confidence on
    the compared products (its probabilities are calibrated), its F1 in the training, its F1 on the
    rows by which the new release was found better, and the upper end of its F1 by labels. After a
    drift, and while trainings learn from a change, the other figures mean little, so that only
    labels count: after a change of the mix, a release of .88 may be right on half of what comes.
    They are those of the days after the change, if its alert tells when it began.

    Args:
        session: Read-only.
        line: The promotion.
        manifest: Manifest of the release before.
        pairs: Replies to the compared products.
    """
    has_drifted = _has_drifted(session, line) or has_changed(session)
    since = changed_since(session)
    return {
        modality: _accuracy(
            by_labels=_by_labels(session, line, modality, since),
            others=() if has_drifted else _others(line, manifest, pairs, modality),
        )
        for modality in AGREEMENTS
    }


def _accuracy(by_labels: float | None, others: Sequence[float]) -> float | None:
    known = [*others, *([] if by_labels is None else [by_labels])]
    return min(known, default=None)


def _others(
    line: Promotion, manifest: ReleaseManifest, pairs: Sequence[Pair], modality: str
) -> list[float]:
    confidences = [pair.before[modality].confidence for pair in pairs if modality in pair.before]
    if not confidences:
        return []
    figures = [fmean(confidences), manifest.figures.get(f"{modality}_f1_plain")]
    if modality == ANSWER:
        figures.append(_compared_f1(line.figures.get("verdict")))
    return [figure for figure in figures if figure is not None]


def _compared_f1(verdict: Mapping[str, object] | None) -> float | None:
    """Return the F1 of the release before in its comparison with the new one."""
    found = (verdict or {}).get("champion_f1")
    return float(found) if isinstance(found, int | float) else None


def _by_labels(
    session: Session, line: Promotion, modality: str, since: datetime | None
) -> float | None:
    after_change = () if since is None else (Performance.begins_at >= since,)
    newest = (
        select(Performance.high)
        .where(
            Performance.kind == LABELLED,
            Performance.release == line.previous_version,
            Performance.modality == modality,
            Performance.rows >= FIRST_ROWS,
            Performance.measured_at > now() - LABELLED_DAYS,
            *after_change,
        )
        .order_by(Performance.ends_at.desc(), Performance.rows.desc())
    )
    return session.scalar(newest.limit(1))


def _has_drifted(session: Session, line: Promotion) -> bool:
    newest = (
        select(DriftWindow.moved)
        .where(DriftWindow.release == line.previous_version)
        .order_by(DriftWindow.ends_at.desc())
    )
    moved = session.scalar(newest.limit(1)) or []
    return any(modality.value in moved for modality in Modality)
