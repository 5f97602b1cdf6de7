"""Asks a running system for a training, and tells what came of it: `make nightly URL=…`.

Signs in with `RAYON_API_KEY`, which needs the scopes `training:read` and `training:write`. On
GitHub the report is the job's summary. Ends with 0 if the training finished, whether or not its
release was better; with 1 if it failed, was cancelled, or is not done in time: then it goes on by
itself.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

FINAL = ("finished", "failed", "cancelled")
#: A job of GitHub's own machines ends after six hours.
PATIENCE_HOURS = 5.5
POLL_SECONDS = 15.0
#: So often in a row the service may not answer, as while it is upgraded.
LOST_TRIES = 40

Run = dict[str, Any]
Say = Callable[[str], None]


def main() -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--dataset", help="as `name` or `name@version`; else the trainer's own")
    parser.add_argument("--reason", default="nightly")
    parser.add_argument("--hours", type=float, default=PATIENCE_HOURS)
    given = parser.parse_args()
    key = os.environ.get("RAYON_API_KEY")
    if not key:
        print("Set RAYON_API_KEY to a key that may train.", file=sys.stderr)  # noqa: T201
        return 1
    headers = {"X-API-Key": key}
    with httpx.Client(base_url=given.url.rstrip("/"), headers=headers, timeout=30) as http:
        try:
            asked = ask(http, given.reason, given.dataset)
            run = follow(http, asked, given.hours * 3600, POLL_SECONDS, _say)
        except httpx.HTTPError as error:
            _say(f"The system does not answer as it should: {error}")
            return 1
    text = report(run)
    _say(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    return 0 if run["status"] == "finished" else 1


def ask(http: httpx.Client, reason: str, dataset: str | None) -> Run:
    """Ask for a training. Raises `httpx.HTTPStatusError` with the service's own words."""
    answer = http.post("/v1/training-runs", json={"reason": reason, "dataset": dataset})
    if answer.is_error:
        said = f"{answer.status_code} {answer.text}"
        raise httpx.HTTPStatusError(said, request=answer.request, response=answer)
    run: Run = answer.json()
    return run


def follow(http: httpx.Client, run: Run, seconds: float, poll_seconds: float, say: Say) -> Run:
    """Look at a run until it ends, or so long; says each step as it begins.

    Raises:
        httpx.HTTPError: The service did not answer many times in a row.
    """
    deadline, told, lost = time.monotonic() + seconds, "", 0
    while run["status"] not in FINAL and time.monotonic() < deadline:
        now = f"{run['status']}: {run['step'] or 'waits for the trainer'}"
        if now != told:
            say(now)
            told = now
        time.sleep(poll_seconds)
        try:
            answer = http.get(f"/v1/training-runs/{run['id']}")
            answer.raise_for_status()
        except httpx.HTTPError:
            lost += 1
            if lost >= LOST_TRIES:
                raise
            continue
        run, lost = answer.json(), 0
    return run


def report(run: Run) -> str:
    """What came of a run, as a page of Markdown."""
    status = run["status"] if run["status"] in FINAL else "not done in time"
    lines = [
        f"## Training {run['id']}: {status}",
        "",
        f"- data: {run['dataset'] or 'where the trainer has its own'}",
        f"- release: {run['version'] or 'none'}",
    ]
    if run["message"]:
        lines.append(f"- {run['message']}")
    lines += [f"- {name}: {value}" for name, value in (run["verdict"] or {}).items()]
    if run["status"] == "failed" and run["log_tail"]:
        lines += ["", "```", run["log_tail"].rstrip(), "```"]
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
