"""Commands `rayon categories` and `rayon releases`."""

from rayon.answers import Release
from rayon.cli.options import AsJson, ReleaseName, Url, connected
from rayon.cli.screen import Screen


def categories(release: ReleaseName = "champion", as_json: AsJson = False, url: Url = None) -> None:
    """List the categories that a release can predict."""
    screen = Screen()
    with connected(url, screen) as client:
        found = client.categories(release)
    if as_json:
        screen.json([vars(one) for one in found])
    else:
        screen.table(("code", "category"), ((one.prdtypecode, one.category) for one in found))


def releases(as_json: AsJson = False, url: Url = None) -> None:
    """List the releases of the models, newest first."""
    screen = Screen()
    with connected(url, screen) as client:
        found = client.releases()
    if as_json:
        screen.json([one.raw for one in found])
        return
    screen.table(("version", "serves as", "created", "figures", "description"), map(_row, found))


def _row(release: Release) -> tuple[object, ...]:
    figures = ", ".join(f"{name} {value:.3g}" for name, value in sorted(release.figures.items()))
    return (
        release.version,
        "rejected" if release.rejected else ", ".join(release.aliases),
        release.created_at,
        figures,
        release.rejected or release.description,
    )
