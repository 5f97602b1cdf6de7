"""Resolution of the `release` parameter of a request."""

from gateway.releases.champion_watch import ChampionWatch
from shared.errors import InvalidInput, NotFound
from shared.inference.releases.access import ReleaseNames
from shared.inference.releases.registry import CHAMPION


def resolve(champion: ChampionWatch, releases: ReleaseNames, name: str) -> str:
    """Return the version that a `release` parameter refers to.

    Raises:
        InvalidInput: No release has this version or alias.
        Unavailable: No release has been promoted yet, or the registry does not answer.
    """
    if name == CHAMPION:
        return champion.current()
    try:
        return releases.version_of(name)
    except NotFound as error:
        raise InvalidInput(
            f"Expected an alias or a version of a release. Received: {name!r}", field=("release",)
        ) from error
