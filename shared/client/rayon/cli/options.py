"""Options that several commands have, and the client that they make."""

from typing import Annotated

from typer import Option

from rayon.answers import ModelName
from rayon.cli.screen import Screen
from rayon.client import Rayon
from rayon.errors import RayonError
from rayon.uploads import SentCatalogs

Url = Annotated[
    str | None,
    Option(
        "--url",
        envvar="RAYON_URL",
        show_envvar=True,
        help="Address of the service; else where you signed in last.",
    ),
]
AsJson = Annotated[bool, Option("--json", help="Write JSON, and nothing else, to stdout.")]
Model = Annotated[ModelName, Option("--model", help="What to classify by.")]
ReleaseName = Annotated[
    str, Option("--release", help="Release of the models, by alias or version.")
]
#: A pause that is shorter needs no word.
NOTICED_SECONDS = 1.0


def connected(url: str | None, screen: Screen) -> Rayon:
    """A client for a command; it says so when it has to wait."""

    def on_pause(seconds: float, error: RayonError) -> None:
        if seconds >= NOTICED_SECONDS:
            screen.say(f"{error} Trying again in {seconds:.0f} s.")

    return Rayon(url, on_pause=on_pause, sent=SentCatalogs())
