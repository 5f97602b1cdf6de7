"""Outcome of a catalog: write its files, and report what became of its rows."""

from pathlib import Path

from rayon.catalogs import Catalog
from rayon.cli.catalogs.options import Wanted
from rayon.cli.catalogs.precision import report_precision
from rayon.cli.catalogs.report import (
    SHOWN,
    Reasons,
    excess,
    first_rejected,
    reasons_of,
    report_rows,
    summary,
)
from rayon.cli.screen import Screen
from rayon.precision import Precision


def finished(catalog: Catalog, wanted: Wanted, screen: Screen) -> bool:
    """Write the files and the report of a catalog. Return True if no more is lost than allowed."""
    results = _collect(catalog, wanted)
    reasons = reasons_of(catalog, results if wanted.kind == "jsonl" else None, screen)
    found = _precision(catalog, wanted)
    if wanted.as_json:
        screen.json({**catalog.raw, "precision": found.raw} if found else catalog.raw)
    else:
        _report(catalog, reasons, wanted, screen)
        if found:
            report_precision(found, screen)
    too_many = excess(catalog, reasons.degraded, wanted.max_degraded)
    if too_many:
        screen.say(f"{too_many} --max-degraded sets the limit.")
    return catalog.is_whole and not too_many


def _collect(catalog: Catalog, wanted: Wanted) -> Path | None:
    """Write the files. Return that of the results if there is one."""
    if wanted.errors and catalog.counts.rejected:
        catalog.errors(wanted.errors)
    if wanted.out and not catalog.dry_run and catalog.status != "failed":
        return catalog.results(
            wanted.out,
            format=wanted.kind,
            bom=wanted.bom,
            target=wanted.target,
            by_category=wanted.by_category,
        )
    return None


def _precision(catalog: Catalog, wanted: Wanted) -> Precision | None:
    if wanted.target is None or catalog.dry_run or catalog.status == "failed":
        return None
    return catalog.precision(wanted.target, by_category=wanted.by_category)


def _report(catalog: Catalog, reasons: Reasons, wanted: Wanted, screen: Screen) -> None:
    screen.answer(summary(catalog, reasons.degraded))
    if catalog.error:
        screen.answer(f"{catalog.error.message} ({catalog.error.code})")
    _report_rejected(catalog, wanted, screen)
    report_rows(reasons, screen)
    if catalog.counts.failed:
        screen.answer(f"To retry the failed rows: {wanted.command(catalog, '--retry')}")
    if catalog.status == "cancelled" and catalog.counts.cancelled:
        screen.answer(f"To classify the cancelled rows: {wanted.command(catalog, '--continue')}")
    if catalog.status == "failed" or catalog.dry_run:
        return
    if wanted.out:
        screen.answer(f"Answers: {wanted.out}")
    else:
        screen.answer(f"Answers: {wanted.command(catalog)} --out results.csv")


def _report_rejected(catalog: Catalog, wanted: Wanted, screen: Screen) -> None:
    if not catalog.counts.rejected:
        return
    screen.answer("Rejected:")
    for line in first_rejected(catalog):
        screen.answer(f"  {line}")
    if wanted.errors:
        screen.answer(f"All rejected rows: {wanted.errors}")
    elif catalog.counts.rejected > SHOWN:
        screen.answer(f"To get all rejected rows: {wanted.command(catalog)} --errors errors.csv")
    if not catalog.dry_run and catalog.status == "finished":
        file = wanted.errors or "errors.csv"
        screen.answer(f"Once they are corrected: {wanted.command(catalog)} --repair {file}")
