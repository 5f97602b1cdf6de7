"""Labels of a client that enter a training dataset."""

import csv
import io
import time

import httpx

from tests.bench.attacks.figure import Figure
from tests.bench.attacks.target import Target

ATTACKER = "127.0.0.90"
#: Jobs that the attacker labels, and rows of the dataset, of each of two categories.
JOBS, ROWS = 20, 15
CODES = (10, 2583)
CHECK_SECONDS = 90.0


def attacks(target: Target) -> list[Figure]:
    """Label jobs wrongly, then let an operator add the labelled jobs to a dataset."""
    with target.account("poisoner", address=ATTACKER) as client:
        accepted = sum(_labelled(client, number) for number in range(JOBS))
    with target.admin() as admin:
        files = {"products": ("p.csv", _products())}
        _accepted(admin.post("/v1/datasets", data={"name": "shop"}, files=files))
        before = _rows(admin, 1)
        added = {"labels": (None, "corrected")}
        _accepted(admin.post("/v1/datasets/shop/rows", files=added))
        after = _rows(admin, 2)
    return [
        Figure(
            "12",
            f"rows of a training dataset from {JOBS} wrong labels of a client",
            max(0, after - before),
            "rows",
            0,
            "test_labels_of_untrusted_clients_do_not_train",
            f"{accepted} labels accepted, {before} rows before, {after} after",
        )
    ]


def _labelled(client: httpx.Client, number: int) -> bool:
    form = {"designation": f"Piscine gonflable ronde numéro {number}", "model": "text"}
    job = client.post("/v1/jobs", data=form)
    job.raise_for_status()
    path = f"/v1/jobs/{job.json()['id']}"
    client.get(path, params={"wait": 20})
    return client.put(f"{path}/label", json={"prdtypecode": CODES[0]}).status_code == 200


def _products() -> bytes:
    content = io.StringIO()
    writer = csv.writer(content)
    writer.writerow(["id", "designation", "prdtypecode"])
    for code in CODES:
        writer.writerows([f"{code}-{row}", f"produit {code} {row}", code] for row in range(ROWS))
    return content.getvalue().encode()


def _accepted(answer: httpx.Response) -> None:
    if answer.status_code != 202:
        raise RuntimeError(f"Expected status 202. Received: {answer.status_code} {answer.text}")


def _rows(admin: httpx.Client, version: int) -> int:
    """Return the rows of a version once it is checked; 0 for one that was refused."""
    deadline = time.monotonic() + CHECK_SECONDS
    while True:
        found = admin.get("/v1/datasets/shop").json()["versions"]
        newest = max(found, key=lambda one: int(one["version"]))
        if newest["version"] == version and newest["status"] in ("ready", "failed"):
            return int(newest.get("rows") or 0)
        if time.monotonic() > deadline:
            raise RuntimeError(f"Expected version {version} of the dataset. Received: {newest}")
        time.sleep(0.5)
