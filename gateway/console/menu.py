"""Menu of the console, by role."""

from dataclasses import dataclass

from gateway.identity.browser_cookie import CONSOLE
from gateway.identity.permissions import RULES
from gateway.identity.principal import Principal


@dataclass(frozen=True)
class Entry:
    """A page of the menu.

    Attributes:
        path: Path of the page below `/console`.
        key: Key that opens the page after `g`.
        name: Name in English, which templates translate.
    """

    path: str
    key: str
    name: str


def N_(text: str) -> str:  # noqa: N802 - the name that extractors of translations know
    """Mark a text for translation."""
    return text


ENTRIES = (
    Entry("", "h", N_("Home")),
    Entry("/try", "t", N_("Try")),
    Entry("/import", "i", N_("Import")),
    Entry("/catalogs", "c", N_("Catalogs")),
    Entry("/queues", "q", N_("Queues")),
    Entry("/alerts", "w", N_("Alerts")),
    Entry("/models", "m", N_("Models")),
    Entry("/people", "p", N_("People")),
    Entry("/audit-log", "l", N_("Audit log")),
    Entry("/account", "a", N_("Account")),
)


def menu_of(principal: Principal | None) -> list[Entry]:
    """Return the pages that a visitor may open."""
    if principal is None:
        return []
    return [
        entry
        for entry in ENTRIES
        if principal.role in RULES[("GET", f"{CONSOLE}{entry.path}")].roles
    ]
