"""Entry point that assembles the commands."""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, MutableMapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from rayon.cli import interrupts
from rayon.cli.exits import EPILOG, Commands

Command = TyperCommand | TyperGroup
#: Modules of the commands by name, in the order of `rayon --help`.
COMMANDS = {
    "login": "accounts",
    "logout": "accounts",
    "whoami": "accounts",
    "password": "passwords",
    "classify": "products",
    "catalog": "catalogs.commands",
    "catalogs": "catalogs.commands",
    "jobs": "products",
    "explain": "explaining",
    "cancel": "products",
    "labels": "labels",
    "trust": "labels",
    "reviews": "labels",
    "categories": "models",
    "train": "training.runs",
    "runs": "training.runs",
    "releases": "models",
    "promote": "models",
    "rollback": "models",
    "queues": "operations",
    "report": "reports",
}
#: Modules of the groups of commands, and the functions that build them.
GROUPS = {
    "dataset": ("training.datasets", "datasets_app"),
    "dead-letters": ("operations", "dead_letters_app"),
}
LAYOUT: dict[str, Any] = {"rich_markup_mode": "markdown", "add_completion": False}


def main() -> None:
    """Run the command line."""
    # `import httpx` would load its own command line too, which takes as long as all the rest.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    interrupts.listen()
    build_app()()


def build_app() -> typer.Typer:
    """Build the application. A command is imported when it is run or listed."""
    return typer.Typer(
        cls=_LazyCommands,
        callback=_rayon,
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        # Plain tracebacks are easier to copy into a bug report.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class _Loaded(MutableMapping[str, Command]):
    """Commands by name; each is imported when it is first read."""

    def __init__(self) -> None:
        self._found: dict[str, Command | None] = dict.fromkeys([*COMMANDS, *GROUPS])

    def __getitem__(self, name: str) -> Command:
        found = self._found[name]
        if found is None:
            found = self._found[name] = _load(name)
        return found

    def __setitem__(self, name: str, command: Command) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class _LazyCommands(Commands):
    """Top-level commands, of which only the one that is run is imported."""

    commands: MutableMapping[str, Any]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Loaded()


def _load(name: str) -> Command:
    app = typer.Typer(callback=lambda: None, **LAYOUT)
    if name in GROUPS:
        app.add_typer(_imported(*GROUPS[name])())
    else:
        app.command(name, epilog=EPILOG)(_imported(COMMANDS[name], name))
    group: Any = typer.main.get_command(app)
    command: Command = group.commands[name]
    return command


def _imported(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(f"rayon.cli.{module}"), name)
    return function


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(importlib.metadata.version("rayon-client"))
        raise typer.Exit


def _rayon(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Classify a shop's products with a Rayon service."""
