"""Capacity of a core per day, and the resources for a larger load."""

from collections.abc import Sequence

from tests.bench.limits.stopwatch import Cost


def sizing(costs: dict[str, Cost], sizes: dict[str, float]) -> dict[str, float]:
    """Return the rows per day that one core handles from upload to answer, and the storage used."""

    def seconds(*names: str) -> float:
        return sum(1 / costs[name].rows_per_core_second for name in names)

    queue = seconds("publish, catalogs", "consume, catalogs", "Redis, catalogs")
    answer = seconds("fusion worker, answers", "PostgreSQL, fusion worker, answers")
    feed = seconds("insert catalog rows", "PostgreSQL, insert catalog rows")
    # One message goes to the modality worker and one from there to the fusion worker.
    text_row = feed + 2 * queue + seconds("text worker") + answer
    image = seconds("store an image (a folder)", "image worker") + 2 * queue + answer
    return {
        "texts per day, millions": 0.0864 / text_row,
        "texts with a new image per day, millions": 0.0864 / (text_row + image),
        "GB of PostgreSQL per million jobs": sizes["bytes of PostgreSQL per finished job"] / 1e3,
        "GB of its log per million jobs (temporary)": sizes["bytes of its log per job"] / 1e3,
        "GB per million images": sizes["bytes of an image"] / 1e3,
        "GB of Redis per million waiting rows": sizes["bytes of Redis per waiting row, catalogs"]
        / 1e3,
    }


def plan(costs: dict[str, Cost], sizes: dict[str, float], per_second: float) -> dict[str, float]:
    """Return the resources for a rate of products, each with a text and a new image."""
    core = {name: per_second / cost.rows_per_core_second for name, cost in costs.items()}
    day = 86_400 * per_second
    return {
        "products per second": per_second,
        "products per day, millions": day / 1e6,
        "cores of text workers": core["text worker"] + core["consume, catalogs"],
        "cores of image workers": core["image worker"],
        # Each of the two modalities sends a message of scores, which the worker joins.
        "cores of fusion workers": 2 * core["fusion worker, answers"],
        "cores of the feeder": core["insert catalog rows"]
        + core["publish, catalogs"]
        + core["store an image (a folder)"],
        "cores of PostgreSQL": core["PostgreSQL, insert catalog rows"]
        + 2 * core["PostgreSQL, fusion worker, answers"],
        # One message for the text, one for the image and two with scores.
        "cores of Redis (limited to one)": 4 * core["Redis, catalogs"],
        "PostgreSQL, GB per day": day * sizes["bytes of PostgreSQL per finished job"] / 1e9,
        "its log, MB per second": per_second * sizes["bytes of its log per job"] / 1e6,
        "images, GB per day": day * sizes["bytes of an image"] / 1e9,
    }


def print_plans(plans: Sequence[dict[str, float]]) -> None:
    """Print the plans side by side."""
    print("\nProducts with a text and a new image each, sent as catalogs")
    for name in plans[0]:
        print(f"{name:<38}" + "".join(f"{column[name]:>12,.2f}" for column in plans))
