"""Start a training on a running system and report its outcome: `make nightly URL=…`.

Signs in with `RAYON_API_KEY`, which needs the scopes `training:read` and `training:write`. On
GitHub the report is the job's summary. Ends with 0 if the training finished, whether or not its
release was better; with 1 if it failed, was cancelled or did not finish in time, in which case it
continues on the system.
"""

import argparse
import os
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

FINAL = ("finished", "failed", "cancelled")
#: GitHub stops a job on its hosted runners after six hours.
PATIENCE_HOURS = 5.5
POLL_SECONDS = 15.0
#: Failed polls in a row to tolerate, for example during an upgrade.
LOST_TRIES = 40

Run = dict[str, Any]
Say = Callable[[str], None]


def main() -> int:
    """Run a training and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument(
        "--dataset", help="`name` or `name@version`; defaults to the trainer's dataset"
    )
    parser.add_argument("--reason", default="nightly")
    parser.add_argument("--hours", type=float, default=PATIENCE_HOURS)
    args = parser.parse_args()
    key = os.environ.get("RAYON_API_KEY")
    if not key:
        print("Set RAYON_API_KEY to a key that may train.", file=sys.stderr)  # noqa: T201
        return 1
    headers = {"X-API-Key": key}
    tls = ssl.create_default_context()
    url = args.url.rstrip("/")
    with httpx.Client(base_url=url, headers=headers, timeout=30, verify=tls) as http:
        try:
            asked = ask(http, args.reason, args.dataset)
            run = follow(http, asked, args.hours * 3600, POLL_SECONDS, _say)
        except httpx.HTTPError as error:
            _say(f"The request failed: {error}")
            return 1
    text = report(run)
    _say(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    return 0 if run["status"] == "finished" else 1


def ask(http: httpx.Client, reason: str, dataset: str | None) -> Run:
    """Start a training. Raises `httpx.HTTPStatusError` with the text of the response."""
    answer = http.post("/v1/training-runs", json={"reason": reason, "dataset": dataset})
    if answer.is_error:
        text = f"{answer.status_code} {answer.text}"
        raise httpx.HTTPStatusError(text, request=answer.request, response=answer)
    run: Run = answer.json()
    return run


def follow(http: httpx.Client, run: Run, seconds: float, poll_seconds: float, say: Say) -> Run:
    """Poll a run until it ends or the time is over; report each step as it begins.

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
    """Return the outcome of a run as Markdown."""
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
