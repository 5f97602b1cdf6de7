"""Repair a catalog from the command line: its corrected file of errors, and its missing images."""

from pathlib import Path

from rayon.catalogs import Catalog
from rayon.cli.screen import Screen, place
from rayon.repairs import ImageReport, RepairReport

#: Rows and images to show.
SHOWN = 20


def repaired(
    catalog: Catalog, corrected: Path | None, images: list[Path], screen: Screen
) -> Catalog:
    """Send what was repaired, print what is still wrong, and run the repaired rows.

    Without a file and images the catalog is returned as it is.
    """
    if corrected is None and not images:
        return catalog
    ready = 0
    if corrected is not None:
        changed = catalog.change_rows(corrected)
        _report_rows(changed, screen)
        ready = changed.ready
    if images:
        added = catalog.add_images(*images)
        _report_images(added, screen)
        ready = added.ready
    if not ready:
        screen.say("No repaired row is ready, so nothing is classified.")
        return catalog
    screen.say(f"Rows to classify: {ready}")
    return catalog.run_repaired()


def _report_rows(report: RepairReport, screen: Screen) -> None:
    screen.say(f"Changed rows: {report.changed}, of which still wrong: {len(report.wrong)}")
    for one in report.wrong[:SHOWN]:
        screen.say(f"  {place(one.row, one.line)}: {one.reason}")
    _more(len(report.wrong), screen)


def _report_images(report: ImageReport, screen: Screen) -> None:
    screen.say(f"Rows that got their image: {report.rows}")
    if report.unused:
        screen.say(f"Images that no row without an image names: {', '.join(report.unused[:SHOWN])}")
        _more(len(report.unused), screen)
    for reason in report.refused[:SHOWN]:
        screen.say(f"  {reason}")
    _more(len(report.refused), screen)


def _more(count: int, screen: Screen) -> None:
    if count > SHOWN:
        screen.say(f"  and {count - SHOWN} more")
