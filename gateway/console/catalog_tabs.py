"""The tabs of a catalog: each is a page of its own below `/console/catalogs/{catalog_id}`."""

from dataclasses import dataclass
from typing import Any

from fastapi.responses import HTMLResponse

from gateway.api.catalogs import shown_catalog
from gateway.catalogs.schemas import CatalogCounts, CatalogOut
from gateway.console.menu import N_
from gateway.console.visit import Visit
from gateway.identity.browser_cookie import CONSOLE
from gateway.identity.permissions import RULES

#: Path of the catalogs below `/console`.
CATALOGS = "/catalogs"


@dataclass(frozen=True)
class Tab:
    """A tab of a catalog.

    Attributes:
        path: Path below that of the catalog.
        name: Name in English, which templates translate.
        counted: Field of the counts whose number the tab shows; empty for none.
    """

    path: str
    name: str
    counted: str = ""

    def count(self, counts: CatalogCounts) -> int | None:
        """Return the number beside the name; `None` without one."""
        return getattr(counts, self.counted) if self.counted else None


_TABS = (
    Tab("", N_("Progress")),
    Tab("/answers", N_("Answers"), "done"),
    Tab("/labels", N_("Labels")),
    Tab("/repair", N_("Repair"), "rejected"),
    Tab("/failed", N_("Failed"), "failed"),
    Tab("/files", N_("Files")),
)
#: Tabs that have a page.
TABS = tuple(
    tab for tab in _TABS if ("GET", f"{CONSOLE}{CATALOGS}/{{catalog_id}}{tab.path}") in RULES
)


def path_of(catalog_id: str, below: str = "") -> str:
    """Return the path of a catalog's page below `/console`."""
    return f"{CATALOGS}/{catalog_id}{below}"


def tab_page(
    visit: Visit,
    catalog: CatalogOut | str,
    template: str,
    status_code: int = 200,
    **context: Any,
) -> HTMLResponse:
    """Respond with a tab of a catalog. The template extends `catalog.html`.

    Args:
        visit: The request.
        catalog: The catalog, or its ID.
        template: Name of the template.
        status_code: HTTP status.
        **context: Further names of the template.

    Raises:
        NotFound: The visitor has no such catalog.
    """
    if isinstance(catalog, str):
        catalog = shown_catalog(visit.services, visit.user, catalog)
    return visit.page(
        template, status_code, catalog=catalog, path=path_of(catalog.id), tabs=TABS, **context
    )
