"""A running system whose products change: it must say so, say what, and retrain by itself.

    make drill DATA=folder

Starts a system of its own in a temporary folder and sends it catalogs of held-out products: as they
are, and then with another mix of classes, with translated and with cut texts, with darkened and
with replaced images. Nobody does anything: the monitor measures its windows, raises alerts, asks
for a training on the stored dataset with the labels that came meanwhile; the trainer trains, tests
and compares, and the alert tells what came of it. Ends with an error where something was missed,
or an alert came though nothing had moved.
"""

import argparse
import asyncio
import io
import os
import sys
import tempfile
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
from tests.bench.faults.catalog_chaos import final_catalog
from tests.bench.quality.shifts import OF_IMAGES, OF_TEXTS, mixed
from tests.e2e.system import System
from trainer.datasets.folder import Dataset
from trainer.reference.build import other_rows

#: Products as they are, and of each change; a window has a thousand.
UNCHANGED, CHANGED, WINDOW = 5_000, 2_400, 1_000
#: What the training learns from: enough that it ends within minutes.
TRAINED_ON, TESTED_ON = 1_500, 600
LABELLED = 40
PATIENCE_SECONDS = 1_800.0
#: Longer than what is left of a phase waits before it is a window.
QUIET_SECONDS = 40.0
SETTINGS = {
    # What is left of a phase becomes a window of its own, so that none mixes two phases.
    "RAYON_DRIFT_WINDOW_SECONDS": "12",
    "RAYON_DRIFT_LEAST_ROWS": "200",
    "RAYON_DRIFT_INTERVAL_SECONDS": "2",
    "RAYON_DRIFT_COOLDOWN_SECONDS": "0",
    "RAYON_MONITOR_INTERVAL_SECONDS": "2",
    # One training, and then the budget is seen to hold.
    "RAYON_MONITOR_TRAININGS_PER_WEEK": "1",
    "RAYON_MONITOR_DATASET": "shop",
    "RAYON_TRAINER_PROMOTION": "automatic",
    # The client sends more than people do.
    "RAYON_CATALOGS_TEXT_SLICE": "100",
}


@dataclass(frozen=True)
class Phase:
    """Products that are sent together, and what must move; nothing where `expected` is empty."""

    name: str
    rows: pd.DataFrame
    expected: frozenset[str] = frozenset()
    change: Callable[[bytes], bytes] = field(default=lambda content: content)


def main() -> int:
    """Drill; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", type=float, default=1.0, help="of the products; for a try")
    given = parser.parse_args()
    data = dataset(given.data)
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder))
        system.environment |= SETTINGS
        system.environment["RAYON_DRIFT_WINDOW_ROWS"] = str(max(int(WINDOW * given.part), 200))
        try:
            system.start()
            os.environ["RAYON_ADMIN_PASSWORD"] = system.password
            found = asyncio.run(drill(system.address, data, given.part))
        finally:
            system.stop()
    save("drill", found)
    missed = [phase["name"] for phase in found["phases"] if not phase["as_expected"]]
    print(f"missed: {', '.join(missed)}" if missed else "everything was seen, and nothing else")
    run = found["trained"]
    print(f"training: {run['status']}. {run['message']}" if run else "nothing was trained")
    return 0 if run and run["status"] == "finished" and not missed else 1


async def drill(url: str, data: Dataset, part: float) -> dict[str, Any]:
    """Send every phase and see what the system says of it."""
    found, trained = [], None
    async with Client(url) as client:
        await store(client, data)
        for phase in phases(data, part):
            found.append(await run(client, phase))
            if phase.name == "other mix":
                trained = await end_of_training(client)
    return {"phases": found, "trained": trained}


def phases(data: Dataset, part: float) -> list[Phase]:
    """Inputs that are sent, in order."""
    rows = other_rows(data)
    rows = rows[rows["has_text"]].sample(frac=1.0, random_state=0)
    changed = int(CHANGED * part)
    shown = rows.sort_values("image", key=lambda one: one == "", kind="stable")
    # Half of these have images, so that a window has enough of them.
    share_with_image = pd.concat([shown.head(changed // 2), shown.tail(changed // 2)])
    share_with_image = share_with_image.sample(frac=1.0, random_state=0)
    some = rows.head(changed)
    return [
        Phase("unchanged", rows.head(int(UNCHANGED * part))),
        Phase("other mix", mixed(rows, changed, seed=0), frozenset({"prediction"})),
        *(Phase(name, change(some), frozenset({"text"})) for name, change in OF_TEXTS.items()),
        *(
            Phase(name, share_with_image, frozenset({"image"}), change)
            for name, change in OF_IMAGES.items()
        ),
    ]


async def run(client: Client, phase: Phase) -> dict[str, Any]:
    """Send one phase as a catalog, wait for its windows, and tell what was seen."""
    before = {one["id"] for one in await alerts(client)}
    sent, started = len(await windows(client)), time.perf_counter()
    form = form_of(phase)
    catalog = await client.upload(form, os.urandom(8).hex())
    catalog = await final_catalog(client, catalog["id"])
    seconds = time.perf_counter() - started
    measured = (await settled(client))[sent:]
    raised = [one for one in await alerts(client) if one["id"] not in before]
    kinds = {kind for one in raised for kind in one["kind"].split("+")}
    within = next(
        (number for number, one in enumerate(measured, 1) if phase.expected & set(one["moved"])),
        None,
    )
    is_seen = phase.expected <= kinds if phase.expected else not kinds
    found = {
        "name": phase.name,
        "rows": catalog["counts"]["done"],
        "seconds": round(seconds, 1),
        "windows": [{"rows": one["rows"], "moved": one["moved"]} for one in measured],
        "first_moved_window": within,
        "alerts": [{"kind": one["kind"], "summary": one["summary"]} for one in raised],
        "as_expected": is_seen,
    }
    tell(found)
    for alert in raised:
        for step in alert["steps"]:
            print(f"      {step['by']}: {step['text']}")
    if not phase.expected:
        await label(client, catalog["id"], phase.rows)
    return found


def tell(found: dict[str, Any]) -> None:
    """Print one phase."""
    moved = ", ".join(
        f"{one['rows']}: {'+'.join(one['moved']) or 'nothing'}" for one in found["windows"]
    )
    print(f"\n{found['name']}: {found['rows']} products in {found['seconds']} s")
    print(f"  windows  {moved}")
    for alert in found["alerts"]:
        print(f"  alert    {alert['kind']}: {alert['summary']}")
    print(f"  {'as expected' if found['as_expected'] else 'NOT AS EXPECTED'}", flush=True)


def form_of(phase: Phase) -> dict[str, tuple[str, bytes]]:
    """A CSV file and a ZIP archive of the images."""
    names = [f"{place}.jpg" if one else "" for place, one in enumerate(phase.rows["image"])]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, reference in zip(names, phase.rows["image"], strict=True):
            if name:
                archive.writestr(name, phase.change(Path(reference).read_bytes()))
    products = phase.rows[["designation", "description"]].assign(image=names)
    return {
        "products": ("products.csv", products.to_csv(index=False).encode()),
        "images": ("images.zip", file.getvalue()),
    }


async def store(client: Client, data: Dataset) -> None:
    """Send the dataset that trainings use, and wait until it is checked."""
    some = data.part("train", text=True).sample(TRAINED_ON, random_state=0)
    rows = pd.concat([some, data.part("validation", text=True).sample(TESTED_ON, random_state=0)])
    table = rows[["designation", "description"]].assign(prdtypecode=rows["code"])
    await client.send(
        "/v1/datasets", {"products": ("p.csv", table.to_csv(index=False).encode())}, name="shop"
    )
    await until(
        client, "/v1/datasets/shop", lambda found: found["versions"][0]["status"] == "ready"
    )


async def label(client: Client, catalog_id: str, rows: pd.DataFrame) -> None:
    """People say what some products are; the training must take it in."""
    codes = rows["code"].tolist()
    for row in range(1, LABELLED + 1):
        path = f"/v1/jobs/{row_job_id(catalog_id, row)}/label"
        await client.put(path, {"prdtypecode": int(codes[row - 1])})


async def alerts(client: Client) -> list[dict[str, Any]]:
    """All alerts, newest first."""
    found: list[dict[str, Any]] = (await client.get("/v1/drift-alerts", limit=200))["items"]
    return found


async def windows(client: Client) -> list[dict[str, Any]]:
    """All windows, oldest first."""
    found = (await client.get("/v1/drift-windows", limit=200))["items"]
    return list(reversed(found))


async def settled(client: Client) -> list[dict[str, Any]]:
    """Wait until no window comes any more; what is left is too few for one."""
    found = await windows(client)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        await asyncio.sleep(1)
        latest = await windows(client)
        if len(latest) != len(found):
            found, quiet_since = latest, time.monotonic()
    return found


async def end_of_training(client: Client) -> dict[str, Any] | None:
    """Wait for the end of the alert that trains; returns the run that came of it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        every = await alerts(client)
        if every and all(one["status"] == "ended" for one in every):
            run = next((one["training_run_id"] for one in every if one["training_run_id"]), None)
            for alert in every:
                print(f"  {alert['kind']}")
                for step in alert["steps"]:
                    print(f"    {step['at'][11:19]} {step['by']}: {step['text']}")
            return await client.get(f"/v1/training-runs/{run}") if run else None
        await asyncio.sleep(2)
    print(f"  no training ended within {PATIENCE_SECONDS:.0f} s")
    return None


async def until(
    client: Client, path: str, is_so: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Poll until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so(found := await client.get(path)):
        if time.monotonic() > deadline:
            raise SystemExit(f"{path} is still {found}")
        await asyncio.sleep(1)
    return found


if __name__ == "__main__":
    sys.exit(main())
