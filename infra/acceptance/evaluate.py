"""Weighted F1 of the running system on the test rows, beside the release's own figures.

    make evaluate DATA=folder

Every test row goes through HTTP: as text, as image, and as both where it has both. Exits
with 1 if the two differ by more than `TOLERANCE` or a job failed.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from sklearn.metrics import f1_score

from infra.acceptance.client import Client, in_flight, save
from infra.acceptance.products import dataset, products_of, rows_of
from trainer.datasets.folder import Dataset
from trainer.release.evaluation import official_weights

#: Accepted difference between the served and the offline figure.
TOLERANCE = 0.005
IN_FLIGHT = 64
MODELS = ("text", "image", "fusion")


def main() -> int:
    """Evaluate and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    args = parser.parse_args()
    figures = asyncio.run(evaluate(args.url, dataset(args.data), args.models))
    save("evaluate", figures)
    is_equal = all(
        found["failed"] == 0 and abs(found["f1_plain"] - found["offline_f1_plain"]) <= TOLERANCE
        for found in figures.values()
    )
    print("served and offline figures agree" if is_equal else "served and offline figures DIFFER")
    return 0 if is_equal else 1


async def evaluate(url: str, data: Dataset, models: list[str]) -> dict[str, dict[str, Any]]:
    """Classify the test rows with each model and return its figures."""
    print(
        f"{'model':<8}{'rows':>6}{'failed':>8}{'F1':>9}{'offline':>9}"
        f"{'official':>10}{'offline':>9}{'rows/s':>8}"
    )
    figures = {}
    async with Client(url) as client:
        for model in models:
            figures[model] = found = await _evaluate_model(client, data, model)
            print(
                f"{model:<8}{found['rows']:>6}{found['failed']:>8}{found['f1_plain']:>9.4f}"
                f"{found['offline_f1_plain']:>9.4f}{found['f1_official']:>10.4f}"
                f"{found['offline_f1_official']:>9.4f}{found['rows_per_second']:>8.1f}",
                flush=True,
            )
    if "fusion" in figures:
        print(f"text alone on the rows of fusion: {figures['fusion']['text_alone_f1_plain']:.4f}")
    return figures


async def _evaluate_model(client: Client, data: Dataset, model: str) -> dict[str, Any]:
    rows = rows_of(data, model)
    started = time.perf_counter()
    jobs = await in_flight(IN_FLIGHT, products_of(rows, model), client.classify)
    seconds = time.perf_counter() - started
    releases = {job["release"] for job in jobs}
    if len(releases) != 1:
        raise SystemExit(f"The release changed while it was measured: {releases}")
    release = await client.get(f"/v1/releases/{releases.pop()}")
    # A failed job predicts a category that does not exist, and so counts as wrong.
    predicted = [job["result"]["prdtypecode"] if job["result"] else -1 for job in jobs]
    codes = rows["code"].to_numpy()
    weights = official_weights(codes, data.official_share)
    offline = release["figures"]
    found = {
        "release": release["version"],
        "rows": len(rows),
        "failed": sum(job["status"] != "done" for job in jobs),
        "f1_plain": _f1(codes, predicted, None),
        "offline_f1_plain": offline.get(f"{model}_f1_plain", float("nan")),
        "f1_official": _f1(codes, predicted, weights) if weights is not None else float("nan"),
        "offline_f1_official": offline.get(f"{model}_f1_official", float("nan")),
        "rows_per_second": len(rows) / seconds,
    }
    if model == "fusion":
        alone = [_of_modality(job, "text") for job in jobs]
        found["text_alone_f1_plain"] = _f1(codes, alone, None)
    return found


def _of_modality(job: dict[str, Any], modality: str) -> int:
    answers = job["result"]["modalities"] if job["result"] else {}
    return int(answers[modality]["prdtypecode"]) if modality in answers else -1


def _f1(codes: Any, predicted: Any, weights: Any) -> float:
    return float(
        f1_score(codes, predicted, average="weighted", sample_weight=weights, zero_division=0)
    )


if __name__ == "__main__":
    sys.exit(main())
