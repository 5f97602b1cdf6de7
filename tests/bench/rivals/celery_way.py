"""One Celery task per product, with Redis as broker and result backend and the prefork pool.

Each process loads the model after the fork, as described in Celery's documentation of signals:
https://docs.celeryq.dev/en/stable/userguide/signals.html#worker-process-init
"""

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from tests.bench.rivals.model import Model

model: Model | None = None


def connected(url: str) -> Celery:
    """Return the application with its task."""
    app = Celery("plain", broker=url, backend=url, set_as_current=False)
    app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1)

    def predict(designation: str, description: str) -> int:
        assert model is not None
        return model.predict([(designation, description)])[0]

    app.task(name="predict")(predict)
    return app


def main(url: str) -> None:
    """Consume tasks with one process per core."""
    cores = os.cpu_count() or 1

    @worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
    def load(**_: Any) -> None:
        global model
        model = Model(threads=1)

    app = connected(url)
    app.Worker(concurrency=cores, loglevel="WARNING", without_gossip=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
