"""Options shared by several commands, and the client built from them."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from rayon.answers import ModelName
from rayon.cli.screen import Screen
from rayon.client import Rayon
from rayon.errors import RayonError

if TYPE_CHECKING:
    from rayon.uploads import SentCatalogs

Url = Annotated[
    str | None,
    Option(
        "--url",
        envvar="RAYON_URL",
        show_envvar=True,
        help="Address of the service. Defaults to the address of your latest sign-in.",
    ),
]
AsJson = Annotated[bool, Option("--json", help="Write only JSON to stdout.")]
Model = Annotated[ModelName, Option("--model", help="Model to classify with.")]
ReleaseName = Annotated[str, Option("--release", help="Alias or version of the release.")]
#: Shorter pauses are not reported.
REPORTED_PAUSE_SECONDS = 1.0


def connected(url: str | None, screen: Screen, sent: "SentCatalogs | None" = None) -> Rayon:
    """Return a client that reports on stderr when it has to wait.

    Args:
        url: Address of the service.
        screen: Receives the reports.
        sent: Record of the catalogs that were sent, for a command that sends one.
    """

    def on_pause(seconds: float, error: RayonError) -> None:
        if seconds >= REPORTED_PAUSE_SECONDS:
            screen.say(f"{error} Retrying in {seconds:.0f} s.")

    return Rayon(url, on_pause=on_pause, sent=sent)
