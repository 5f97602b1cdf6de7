"""Report of the precision dial: how many answers of a catalog can be accepted for a target."""

from rayon.cli.screen import Screen
from rayon.precision import Precision, Selection


def report_precision(found: Precision, screen: Screen) -> None:
    """Print how many answers are accepted for the target, and the thresholds by category."""
    screen.answer(f"For {_share(found.target)} right answers: {_accepted(found)}")
    if found.is_estimate and found.rows:
        screen.answer(
            f"An estimate by the confidences: {found.labels_needed} labels or more correct it, "
            f"right answers included; the catalog has {found.labelled}."
        )
    if found.categories:
        columns = ("code", "category", "answers", "accepted", "review", "confidence", "right")
        screen.table(
            columns, (_row(one.prdtypecode, one.category, one) for one in found.categories)
        )


def _accepted(found: Selection) -> str:
    if not found.rows:
        return "there are no answers to accept."
    if found.reachable is None:
        return "none can be accepted; all products may belong to none of the categories."
    if not found.is_reached:
        return f"none can be accepted; the surest answers reach {_share(found.reachable)}."
    return (
        f"accept {found.accepted:,} of {found.rows:,} answers ({_share(found.share)}), from "
        f"confidence {found.threshold:.4g}; {_share(found.expected_precision)} of them are "
        f"expected to be right ({_share(found.low)} to {_share(found.high)}). "
        f"Left for review: {found.review:,}"
    )


def _row(code: int, category: str, found: Selection) -> tuple[object, ...]:
    return (
        code,
        category,
        found.rows,
        found.accepted,
        found.review,
        "" if found.threshold is None else f"{found.threshold:.4g}",
        _share(found.expected_precision),
    )


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.4g} %"
