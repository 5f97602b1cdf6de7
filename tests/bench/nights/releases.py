"""Hundreds of releases in the registry: how long a promotion and a job that names one take."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tests.bench.nights.night import PATIENCE_SECONDS, Night

RELEASES = 500
#: Limits in seconds. A promotion is answered once the workers have loaded the release.
PROMOTION_SECONDS, JOB_SECONDS = 20.0, 1.0


@contextmanager
def many(night: Night) -> Iterator[None]:
    """Register hundreds of versions of the champion, then promote one and send a job to one."""
    token = (night.system.home / "secrets" / "registry_token").read_text().strip()
    # MLflow's client has no parameter for it.
    os.environ["MLFLOW_TRACKING_TOKEN"] = token
    url = f"http://127.0.0.1:{night.system.environment['RAYON_MLFLOW_PORT']}"
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    # It reports each version that it makes.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    champion = _champion(client)
    while True:
        added = client.create_model_version("rayon", champion.source, run_id=champion.run_id)
        if int(added.version) >= RELEASES:
            break
    with night.admin() as admin:
        job = {"designation": "Lampe de bureau", "model": "text", "release": champion.version}
        seconds = _timed(lambda: admin.post("/v1/jobs", data=job).raise_for_status())
        path = f"/v1/releases/{added.version}/promote"
        promoted = _timed(lambda: admin.post(path, json={"reason": "a night"}).raise_for_status())
    night.notes.append(f"job {seconds:.2f} s, promotion {promoted:.2f} s")
    if seconds > JOB_SECONDS:
        night.missed.append("slow job with a release")
    if promoted > PROMOTION_SECONDS:
        night.missed.append("slow promotion")
    yield


def _champion(client: MlflowClient) -> ModelVersion:
    # MLflow may still be starting after the fault before.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return client.get_model_version_by_alias("rayon", "champion")
        except MlflowException as error:
            if time.monotonic() > deadline:
                raise RuntimeError("Expected a champion. Received: none") from error
        time.sleep(1)


def _timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started
