"""Response times of promotions, lists and jobs of a registry with many releases.

    make releases
    make releases VERSIONS=502 BEFORE=folder    # beside the checkout of another commit

Starts a throw-away system and registers copies of its starter release, which share its files. Each
request is repeated and its median printed. Every promotion is of another release, whose response
follows once the workers have loaded it; a rollback is to a release that is loaded.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
from mlflow import MlflowClient
from pydantic import SecretStr

from infra.embedded.settings import PROJECT
from shared.inference.releases.registry import CHALLENGER, CHAMPION, Releases
from shared.settings import ReleaseSettings
from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.e2e.system import System

ROUNDS = 7
MODEL = ReleaseSettings().model_name
REASON = {"reason": "measured"}


def main() -> int:
    """Measure one or two checkouts, print a table and return the exit code."""
    args = _arguments()
    checkouts = {"before": args.before} if args.before else {}
    found = {
        name: _measure(folder, args.versions)
        for name, folder in {**checkouts, "now": PROJECT}.items()
    }
    print(f"{args.versions} releases, median of {ROUNDS} requests, in ms")
    print(f"{'':34}" + "".join(f"{name:>10}" for name in found))
    for name in found["now"]:
        figures = "".join(f"{times[name] * 1000:>10.0f}" for times in found.values())
        print(f"{name:34}{figures}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = plain_parser(__doc__)
    parser.add_argument("--versions", type=int, default=502, help="releases in the registry")
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit")
    return parser.parse_args()


def _measure(checkout: Path, versions: int) -> Mapping[str, float]:
    with _registered(checkout, versions) as system, system.client() as admin:
        older = iter(range(2, versions))
        named = {"designation": "Piscine gonflable", "model": "text", "release": "1"}
        challenger = {**named, "release": CHALLENGER}
        requests: dict[str, Callable[[], httpx.Response]] = {
            "promote, and load": lambda: admin.post(
                f"/v1/releases/{next(older)}/promote", json=REASON
            ),
            "roll back": lambda: admin.post("/v1/releases/rollback", json=REASON),
            "job that names a version": lambda: admin.post("/v1/jobs", data=named),
            "job that names an alias": lambda: admin.post("/v1/jobs", data=challenger),
            "categories of a version": lambda: admin.get("/v1/categories", params={"release": "1"}),
            "release by version": lambda: admin.get("/v1/releases/1"),
            "release by alias": lambda: admin.get(f"/v1/releases/{CHAMPION}"),
            "list of all releases": lambda: admin.get("/v1/releases"),
            "list, first 50": lambda: admin.get("/v1/releases", params={"limit": 50}),
            "readyz": lambda: admin.get("/readyz"),
        }
        return {name: _median_seconds(request) for name, request in requests.items()}


@contextmanager
def _registered(checkout: Path, versions: int) -> Iterator[System]:
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), checkout)
        try:
            system.start()
            _register(system, versions)
            yield system
        finally:
            system.stop()


def _register(system: System, versions: int) -> None:
    address = f"http://127.0.0.1:{system.environment['RAYON_MLFLOW_PORT']}"
    token = (system.home / "secrets" / "registry_token").read_text().strip()
    # For the token, which MLflow's client takes from the environment.
    Releases(ReleaseSettings(mlflow_url=address, token=SecretStr(token)))
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    starter = client.get_model_version(MODEL, "1")
    tags = {name: value for name, value in starter.tags.items() if not name.startswith("mlflow.")}
    for number in range(2, versions + 1):
        client.create_model_version(
            MODEL,
            starter.source,
            starter.run_id,
            description=f"Copy {number}",
            tags=tags,
            await_creation_for=0,
        )
    client.set_registered_model_alias(MODEL, CHALLENGER, str(versions))


def _median_seconds(request: Callable[[], httpx.Response]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        answer = request()
        seconds.append(time.perf_counter() - started)
        if answer.is_error:
            raise SystemExit(f"Expected success. Received: {answer.status_code} {answer.text}")
    return median(seconds)


if __name__ == "__main__":
    run_command(main)
