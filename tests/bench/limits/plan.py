"""Daily capacity of a core, and the cores that a larger load needs."""

from collections.abc import Sequence

from tests.bench.limits.stopwatch import Cost


def sizing(costs: dict[str, Cost], sizes: dict[str, float]) -> dict[str, float]:
    """Rows a day that one core does from upload to answer, and what a million of them leave."""

    def seconds(*names: str) -> float:
        return sum(1 / costs[name].rows_per_core_second for name in names)

    queue = seconds("publish, catalogs", "consume, catalogs", "Redis, catalogs")
    answer = seconds("fusion worker, answers", "PostgreSQL, fusion worker, answers")
    fed = seconds("insert catalog rows", "PostgreSQL, insert catalog rows")
    # To the station and from there to fusion.
    text_row = fed + 2 * queue + seconds("text worker") + answer
    image = seconds("store an image (a folder)", "image worker") + 2 * queue + answer
    return {
        "texts a day, millions": 0.0864 / text_row,
        "texts with a new image a day, millions": 0.0864 / (text_row + image),
        "GB of PostgreSQL a million jobs": sizes["bytes of PostgreSQL a job that is done"] / 1e3,
        "GB of its log a million jobs (kept for a while)": sizes["bytes of its log a job"] / 1e3,
        "GB of images a million": sizes["bytes of an image"] / 1e3,
        "GB of Redis a million rows that wait": sizes["bytes of Redis a row that waits, catalogs"]
        / 1e3,
    }


def plan(costs: dict[str, Cost], sizes: dict[str, float], per_second: float) -> dict[str, float]:
    """Return the resources for a rate of products, each with a text and a new image."""
    core = {name: per_second / cost.rows_per_core_second for name, cost in costs.items()}
    day = 86_400 * per_second
    return {
        "products a second": per_second,
        "products a day, millions": day / 1e6,
        "cores of text workers": core["text worker"] + core["consume, catalogs"],
        "cores of image workers": core["image worker"],
        # Both modalities bring a message of scores, and each is joined.
        "cores of fusion workers": 2 * core["fusion worker, answers"],
        "cores of feeding": core["insert catalog rows"]
        + core["publish, catalogs"]
        + core["store an image (a folder)"],
        "cores of PostgreSQL": core["PostgreSQL, insert catalog rows"]
        + 2 * core["PostgreSQL, fusion worker, answers"],
        # Text, image and two messages of scores.
        "cores of Redis (one is all it has)": 4 * core["Redis, catalogs"],
        "PostgreSQL, GB a day": day * sizes["bytes of PostgreSQL a job that is done"] / 1e9,
        "its log, MB a second": per_second * sizes["bytes of its log a job"] / 1e6,
        "images, GB a day": day * sizes["bytes of an image"] / 1e9,
    }


def show(plans: Sequence[dict[str, float]]) -> None:
    """Print the plans side by side."""
    print("\nEach product with a text and a new image, as catalogs")
    for name in plans[0]:
        print(f"{name:<38}" + "".join(f"{one[name]:>12,.2f}" for one in plans))
