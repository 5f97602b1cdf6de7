"""Entry point of the text worker: consumes `ScoreText` and `ExplainText`."""

from datetime import UTC, datetime

from shared.broker import Broker, Publisher
from shared.contracts import ExplainText, Modality, ScoreText
from shared.inference.releases.registry import Releases
from shared.inference.releases.shared_champion import SharedChampion
from shared.inference.serving.pool import ModelPool
from shared.inference.serving.worker import run_worker, start_worker
from shared.invalid_settings import run_program
from shared.settings import (
    BrokerSettings,
    ReleaseSettings,
    WorkerSettings,
)
from worker_text.explanation import TextExplainer
from worker_text.handler import TextHandler
from worker_text.scorer import TextScorer


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    settings = WorkerSettings()
    start_worker("worker_text", settings)
    broker = Broker(BrokerSettings())
    return run(settings, broker, broker)


def run(settings: WorkerSettings, broker: Broker, publisher: Publisher) -> int:
    """Consume until SIGTERM; return the exit code.

    Args:
        settings: Settings of the worker.
        broker: Queue of the requests.
        publisher: Takes the scores and explanations.
    """
    release_settings = ReleaseSettings()
    releases = Releases(release_settings)
    pool: ModelPool[str] = ModelPool(
        releases,
        lambda folder, manifest: TextScorer(folder, manifest, threads=settings.model_threads),
        champion=SharedChampion(releases, release_settings),
        modality=Modality.TEXT,
        max_batch=settings.max_batch,
        max_wait_seconds=settings.max_wait_seconds,
        calls=settings.model_calls,
    )
    pool.watch(release_settings.poll_seconds)
    broker.subscribe(ScoreText, TextHandler(pool, publisher).score_text)
    explainer = TextExplainer(pool, releases, publisher, lambda: datetime.now(UTC))
    broker.subscribe(ExplainText, explainer.explain_text)
    return run_worker(broker, "text", settings, pool.ready, [pool.loads])


if __name__ == "__main__":
    run_program(main)
