"""Drill of drift alerts and retraining: shifted input must raise an alert of the right kind.

    make drill DATA=folder

Starts a throw-away system in a temporary folder and sends catalogs of held-out products: unchanged,
then with another mix of categories, with translated and with cut texts, and with darkened and with
replaced images. Nobody intervenes: the monitor measures its windows, raises alerts and requests a
training on the stored dataset with the new labels; the trainer trains, tests and compares, and the
alert records the outcome. Exits with an error if a shift was missed, an alert was false or the
training did not finish.
"""

import asyncio
import io
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from infra.acceptance.client import Client, save
from infra.acceptance.products import dataset
from shared.db.models import row_job_id
from tests.bench.arguments import dataset_parser
from tests.bench.catalog import final_catalog
from tests.bench.commands import run_command
from tests.bench.quality.shifts import IMAGE_SHIFTS, TEXT_SHIFTS, mixed
from tests.bench.throwaway import throwaway_system
from trainer.datasets.folder import Dataset
from trainer.reference.build import other_rows

#: Number of unchanged products, of products per shift, and of products per window.
UNCHANGED, SHIFTED, WINDOW = 5_000, 2_400, 1_000
#: Rows of the stored dataset; few enough for a training of minutes.
TRAINING_ROWS, TEST_ROWS = 1_500, 600
LABELLED = 40
DEADLINE_SECONDS = 1_800.0
#: Longer than the time after which the rest of a phase becomes a window.
QUIET_SECONDS = 40.0
SETTINGS = {
    # The rest of a phase becomes a window of its own, so that no window mixes two phases.
    "RAYON_DRIFT_WINDOW_SECONDS": "12",
    "RAYON_DRIFT_LEAST_ROWS": "200",
    "RAYON_DRIFT_INTERVAL_SECONDS": "2",
    "RAYON_DRIFT_COOLDOWN_SECONDS": "0",
    "RAYON_MONITOR_INTERVAL_SECONDS": "2",
    # One training is allowed; the later alerts show that the budget is respected.
    "RAYON_MONITOR_TRAININGS_PER_WEEK": "1",
    # Nobody labels during the drill; `make recovery` shows how labels lead to a better release.
    "RAYON_MONITOR_LEAST_LABELS": "0",
    "RAYON_MONITOR_DATASET": "shop",
    "RAYON_TRAINER_PROMOTION": "automatic",
    # Smaller slices than the default, because the drill sends more than users do.
    "RAYON_CATALOGS_TEXT_SLICE": "100",
}


@dataclass(frozen=True)
class Phase:
    """Products of one catalog.

    Attributes:
        expected: Kinds of drift that must raise an alert; if empty, there must be no alert.
        shift: Function that is applied to each image.
    """

    name: str
    rows: pd.DataFrame
    expected: frozenset[str] = frozenset()
    shift: Callable[[bytes], bytes] = field(default=lambda content: content)


def main() -> int:
    """Run the drill and return the exit code."""
    parser = dataset_parser(__doc__)
    parser.add_argument(
        "--part",
        type=float,
        default=1.0,
        help="share of the products to send, for a trial run (default: %(default)s)",
    )
    args = parser.parse_args()
    data = dataset(args.data)
    window_rows = {"RAYON_DRIFT_WINDOW_ROWS": str(max(int(WINDOW * args.part), 200))}
    with throwaway_system(**SETTINGS, **window_rows) as system:
        os.environ["RAYON_ADMIN_PASSWORD"] = system.password
        found = asyncio.run(drill(system.address, data, args.part))
    save("drill", found)
    missed = [phase["name"] for phase in found["phases"] if not phase["as_expected"]]
    print(f"not as expected: {', '.join(missed)}" if missed else "every phase was as expected")
    run = found["trained"]
    print(f"training: {run['status']}. {run['message']}" if run else "no training was started")
    return 0 if run and run["status"] == "finished" and not missed else 1


async def drill(url: str, data: Dataset, part: float) -> dict[str, Any]:
    """Send the phases in order; return their figures and the training run."""
    found, trained = [], None
    async with Client(url) as client:
        await store(client, data)
        for phase in phases(data, part):
            found.append(await run(client, phase))
            if phase.name == "other mix":
                trained = await end_of_training(client)
    return {"phases": found, "trained": trained}


def phases(data: Dataset, part: float) -> list[Phase]:
    """Return the phases in order."""
    rows = other_rows(data)
    rows = rows[rows["has_text"]].sample(frac=1.0, random_state=0)
    count = int(SHIFTED * part)
    by_image = rows.sort_values("image", key=lambda images: images == "", kind="stable")
    # Half of these rows have images, so that a window has enough of them.
    half_with_images = pd.concat([by_image.head(count // 2), by_image.tail(count // 2)])
    half_with_images = half_with_images.sample(frac=1.0, random_state=0)
    some = rows.head(count)
    return [
        Phase("unchanged", rows.head(int(UNCHANGED * part))),
        Phase("other mix", mixed(rows, count, seed=0), frozenset({"prediction"})),
        *(Phase(name, shift(some), frozenset({"text"})) for name, shift in TEXT_SHIFTS.items()),
        *(
            Phase(name, half_with_images, frozenset({"image"}), shift)
            for name, shift in IMAGE_SHIFTS.items()
        ),
    ]


async def run(client: Client, phase: Phase) -> dict[str, Any]:
    """Send one phase as a catalog, wait for its windows and return its figures."""
    known = {alert["id"] for alert in await alerts(client)}
    known_windows, started = len(await windows(client)), time.perf_counter()
    catalog = await client.upload(form_of(phase), os.urandom(8).hex())
    catalog = await final_catalog(client, catalog["id"])
    seconds = time.perf_counter() - started
    measured = (await settled_windows(client))[known_windows:]
    raised = [alert for alert in await alerts(client) if alert["id"] not in known]
    kinds = {kind for alert in raised for kind in alert["kind"].split("+")}
    first_moved = next(
        (
            number
            for number, window in enumerate(measured, 1)
            if phase.expected & set(window["moved"])
        ),
        None,
    )
    as_expected = phase.expected <= kinds if phase.expected else not kinds
    found = {
        "name": phase.name,
        "rows": catalog["counts"]["done"],
        "seconds": round(seconds, 1),
        "windows": [{"rows": window["rows"], "moved": window["moved"]} for window in measured],
        "first_moved_window": first_moved,
        "alerts": [{"kind": alert["kind"], "summary": alert["summary"]} for alert in raised],
        "as_expected": as_expected,
    }
    print_phase(found)
    for alert in raised:
        for step in alert["steps"]:
            print(f"      {step['by']}: {step['text']}")
    if not phase.expected:
        await label(client, catalog["id"], phase.rows)
    return found


def print_phase(found: dict[str, Any]) -> None:
    """Print the windows and alerts of a phase."""
    moved = ", ".join(
        f"{window['rows']}: {'+'.join(window['moved']) or 'no drift'}"
        for window in found["windows"]
    )
    print(f"\n{found['name']}: {found['rows']} products in {found['seconds']} s")
    print(f"  windows  {moved}")
    for alert in found["alerts"]:
        print(f"  alert    {alert['kind']}: {alert['summary']}")
    print(f"  {'as expected' if found['as_expected'] else 'NOT AS EXPECTED'}", flush=True)


def form_of(phase: Phase) -> dict[str, tuple[str, bytes]]:
    """Return the files of a phase: a CSV table and a ZIP archive of the images."""
    names = [f"{row}.jpg" if image else "" for row, image in enumerate(phase.rows["image"])]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, reference in zip(names, phase.rows["image"], strict=True):
            if name:
                archive.writestr(name, phase.shift(Path(reference).read_bytes()))
    products = phase.rows[["designation", "description"]].assign(image=names)
    return {
        "products": ("products.csv", products.to_csv(index=False).encode()),
        "images": ("images.zip", file.getvalue()),
    }


async def store(client: Client, data: Dataset) -> None:
    """Send the dataset for trainings and wait until it has been validated."""
    train = data.part("train", text=True).sample(TRAINING_ROWS, random_state=0)
    test = data.part("validation", text=True).sample(TEST_ROWS, random_state=0)
    rows = pd.concat([train, test])
    table = rows[["designation", "description"]].assign(prdtypecode=rows["code"])
    await client.send(
        "/v1/datasets", {"products": ("p.csv", table.to_csv(index=False).encode())}, name="shop"
    )
    await until(
        client, "/v1/datasets/shop", lambda found: found["versions"][0]["status"] == "ready"
    )


async def label(client: Client, catalog_id: str, rows: pd.DataFrame) -> None:
    """Label some products as reviewers do; the training must use these labels."""
    codes = rows["code"].tolist()
    for row in range(1, LABELLED + 1):
        path = f"/v1/jobs/{row_job_id(catalog_id, row)}/label"
        await client.put(path, {"prdtypecode": int(codes[row - 1])})


async def alerts(client: Client) -> list[dict[str, Any]]:
    """Return all alerts, newest first."""
    found: list[dict[str, Any]] = (await client.get("/v1/drift-alerts", limit=200))["items"]
    return found


async def windows(client: Client) -> list[dict[str, Any]]:
    """Return all windows, oldest first."""
    found = (await client.get("/v1/drift-windows", limit=200))["items"]
    return list(reversed(found))


async def settled_windows(client: Client) -> list[dict[str, Any]]:
    """Return the windows once no new one has been measured for `QUIET_SECONDS`."""
    found = await windows(client)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        await asyncio.sleep(1)
        latest = await windows(client)
        if len(latest) != len(found):
            found, quiet_since = latest, time.monotonic()
    return found


async def end_of_training(client: Client) -> dict[str, Any] | None:
    """Wait until all alerts have ended; return the training run that one of them requested."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        raised = await alerts(client)
        if raised and all(alert["status"] == "ended" for alert in raised):
            runs = (alert["training_run_id"] for alert in raised)
            run = next((run for run in runs if run), None)
            for alert in raised:
                print(f"  {alert['kind']}")
                for step in alert["steps"]:
                    print(f"    {step['at'][11:19]} {step['by']}: {step['text']}")
            return await client.get(f"/v1/training-runs/{run}") if run else None
        await asyncio.sleep(2)
    print(f"  no training ended within {DEADLINE_SECONDS:.0f} s")
    return None


async def until(
    client: Client, path: str, condition: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Poll a resource until a condition holds, and return it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition(found := await client.get(path)):
        if time.monotonic() > deadline:
            raise SystemExit(f"Not within {DEADLINE_SECONDS:.0f} s. Received from {path}: {found}")
        await asyncio.sleep(1)
    return found


if __name__ == "__main__":
    run_command(main)
