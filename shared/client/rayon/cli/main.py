"""Entry point that assembles the commands."""

import importlib.metadata
from typing import Annotated

import typer

from rayon.cli import (
    accounts,
    catalog,
    interrupts,
    labels,
    models,
    operations,
    passwords,
    products,
    reports,
)
from rayon.cli.exits import EPILOG, Commands
from rayon.cli.training import datasets, runs


def main() -> None:
    """Run the command line."""
    interrupts.listen()
    build_app()()


def build_app() -> typer.Typer:
    """Build the application with its commands in the order of `rayon --help`."""
    app = typer.Typer(
        cls=Commands,
        callback=_rayon,
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        # Plain tracebacks are easier to copy into a bug report.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in (
        accounts.login,
        accounts.logout,
        accounts.whoami,
        passwords.password,
        products.classify,
        catalog.catalog,
        catalog.catalogs,
        products.jobs,
        products.cancel,
        labels.labels,
        labels.trust,
        labels.reviews,
        models.categories,
        runs.train,
        runs.runs,
        models.releases,
        models.promote,
        models.rollback,
        operations.queues,
        reports.report,
    ):
        app.command(epilog=EPILOG)(command)
    app.add_typer(datasets.datasets_app())
    app.add_typer(operations.dead_letters_app())
    return app


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
