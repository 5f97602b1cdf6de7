"""Commands `rayon train` and `rayon runs`, for operators."""

import shlex
from itertools import islice
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option

from rayon.answers import Release
from rayon.cli.exits import DONE, INCOMPLETE
from rayon.cli.options import AsJson, Url, connected
from rayon.cli.screen import Screen, duration
from rayon.cli.training.following import following
from rayon.client import Rayon
from rayon.errors import RayonError
from rayon.training import TrainingRun


def train(
    run_id: Annotated[
        str | None, Argument(metavar="RUN", help="A run that was requested before.")
    ] = None,
    dataset: Annotated[
        str | None,
        Option("--dataset", "-d", help="Dataset to train on: NAME, or NAME@VERSION."),
    ] = None,
    reason: Annotated[
        str, Option("--reason", "-r", help="Reason for the training, for the records.")
    ] = "Requested with rayon train",
    follow: Annotated[
        bool, Option("--follow", "-f", help="Show the progress and the log until the run ends.")
    ] = False,
    cancel: Annotated[bool, Option("--cancel", help="Cancel the run RUN.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Train a release on a dataset, or show a run that was requested before.

    The run goes on without this command: Ctrl-C only stops the display. Exits with 1 if the run
    failed, was cancelled, or if its release does not pass the acceptance test.
    """
    if (run_id is None) == (dataset is None):
        raise BadParameter("Expected either --dataset NAME or a RUN.")
    if cancel and run_id is None:
        raise BadParameter("--cancel needs a RUN.")
    screen = Screen()
    with connected(url, screen) as client:
        if cancel:
            run = client.training.cancel(run_id or "")
        elif run_id is not None:
            run = client.training.find(run_id)
        else:
            run = client.training.request(dataset, reason)
        if follow:
            run = _followed(client, run, screen, url)
        release = client.release(run.version) if run.is_final and run.version else None
    if as_json:
        screen.json(run.raw)
    else:
        _show(run, release, screen, url)
    is_good = not run.is_final or (release is not None and release.rejected is None)
    raise Exit(DONE if is_good else INCOMPLETE)


def runs(
    limit: Annotated[int, Option("--limit", "-n", min=1, help="Maximum number of runs.")] = 10,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the training runs, newest first."""
    screen = Screen()
    with connected(url, screen) as client:
        found = list(islice(client.training, limit))
    if as_json:
        screen.json([one.raw for one in found])
        return
    screen.table(("run", "status", "dataset", "requested", "release"), map(_row, found))


def _followed(client: Rayon, run: TrainingRun, screen: Screen, url: str | None) -> TrainingRun:
    try:
        with following(screen) as show:
            return client.training.wait(run, show)
    except (KeyboardInterrupt, RayonError) as stop:
        if isinstance(stop, KeyboardInterrupt):
            screen.say("\nStopped watching; the training continues.")
        screen.say(f"To come back:\n  {_command(run, url, '--follow')}")
        raise


def _show(run: TrainingRun, release: Release | None, screen: Screen, url: str | None) -> None:
    screen.answer(f"Training run {run.id} is {run.status}{_took(run)}.")
    if run.message:
        screen.answer(run.message)
    if not run.is_final:
        if run.stage:
            screen.answer(f"Stage: {run.stage}")
        screen.answer(f"To watch it: {_command(run, url, '--follow')}")
        screen.answer(f"To cancel it: {_command(run, url, '--cancel')}")
    elif run.status == "failed":
        screen.answer("Its last lines: rayon train RUN --json, field `log_tail`")
    elif release is not None and release.rejected is None:
        _show_next(release, screen)


def _show_next(release: Release, screen: Screen) -> None:
    screen.answer("Its figures and whether it serves: rayon releases")
    if "champion" in release.aliases:
        screen.answer('To go back to the one before: rayon rollback --reason "…"')
    else:
        screen.answer(f'To serve it: rayon promote {release.version} --reason "…"')


def _took(run: TrainingRun) -> str:
    if run.started_at is None or run.finished_at is None:
        return ""
    return f" after {duration((run.finished_at - run.started_at).total_seconds())}"


def _command(run: TrainingRun, url: str | None, option: str) -> str:
    return shlex.join(["rayon", "train", option, run.id, *(["--url", url] if url else [])])


def _row(one: TrainingRun) -> tuple[object, ...]:
    return (one.id, one.status, one.dataset or "(own data)", one.requested_at, one.version)
