"""Commands `rayon categories`, `rayon releases`, `rayon promote` and `rayon rollback`."""

from typing import Annotated

from typer import Argument, Exit, Option

from rayon.answers import Release
from rayon.cli.exits import DONE, INCOMPLETE
from rayon.cli.options import AsJson, ReleaseName, Url, connected
from rayon.cli.screen import Screen

#: Columns of figures: heading, and name of the figure.
F1 = (("text", "text_f1_plain"), ("image", "image_f1_plain"), ("fusion", "fusion_f1_plain"))
#: Status of a serving release by the state of the watch over it.
_WATCHED = {"watching": "watched", "rolling_back": "worse", "alerted": "worse"}
Reason = Annotated[str, Option("--reason", "-r", help="Reason, for the ledger of promotions.")]


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
    """List the releases of the models, newest first.

    `text`, `image` and `fusion` are weighted F1 on held-out products. The verdict is the comparison
    with the release that served then. The serving release is `watched` over its first answers, and
    `rolled back` if it is worse than the one before.
    """
    screen = Screen()
    with connected(url, screen) as client:
        found = client.releases()
    if as_json:
        screen.json([one.raw for one in found])
    elif screen.is_terminal:
        columns = ("version", "made", *(name for name, _ in F1), "verdict", "status")
        screen.table(columns, map(_row, found))
    else:
        screen.table((), map(_line, found))


def promote(
    version: Annotated[str, Argument(help="Version or alias, such as 4 or challenger.")],
    reason: Reason,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Let a release serve. Requires the admin role.

    Returns once new jobs get the release, which takes some seconds.
    """
    screen = Screen()
    with connected(url, screen) as client:
        _report(client.promote(version, reason), screen, as_json=as_json)


def rollback(reason: Reason, as_json: AsJson = False, url: Url = None) -> None:
    """Let the release before serve again. Requires the admin role.

    A second rollback undoes the first.
    """
    screen = Screen()
    with connected(url, screen) as client:
        _report(client.roll_back(reason), screen, as_json=as_json)


def _report(release: Release, screen: Screen, *, as_json: bool) -> None:
    if as_json:
        screen.json(release.raw)
    elif release.is_serving:
        screen.answer(f"Release {release.version} serves: new jobs get it from now on.")
    else:
        screen.answer(
            f"Release {release.version} is promoted, but does not serve yet: not every worker has "
            "loaded it. The reasons: rayon queues"
        )
    raise Exit(DONE if release.is_serving else INCOMPLETE)


def _row(release: Release) -> tuple[object, ...]:
    return (
        release.version,
        f"{release.created_at.astimezone():%Y-%m-%d %H:%M}",
        *(_f1(release, name) for _, name in F1),
        release.outcome or "–",
        _status(release),
    )


def _f1(release: Release, name: str) -> str:
    value = release.figures.get(name)
    return "–" if value is None else f"{value:.3f}"


def _status(release: Release) -> str:
    if release.rejected:
        return "rejected"
    if release.is_serving:
        return _WATCHED.get(release.watch or "", "serving")
    if "champion" in release.aliases:
        return "loading"
    if "challenger" in release.aliases:
        return "waiting"
    return "rolled back" if release.watch == "rolled_back" else ""


def _line(release: Release) -> tuple[object, ...]:
    """Return the columns of a pipe: version, aliases, time, all figures, description."""
    figures = ", ".join(f"{name} {value:.3g}" for name, value in sorted(release.figures.items()))
    return (
        release.version,
        "rejected" if release.rejected else ", ".join(release.aliases),
        release.created_at,
        figures,
        release.rejected or release.description,
    )
