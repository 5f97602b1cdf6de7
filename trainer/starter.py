"""Imports the starter release: `python -m trainer.starter`.

A fresh registry receives the release that ships with the project, so that a clone classifies
without data or training. A registry with a champion is left unchanged.
"""

from pathlib import Path

import structlog
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from shared.broker import Broker
from shared.db.session import UnitOfWork, open_engine
from shared.errors import RayonError, Unavailable
from shared.inference.releases.registry import Releases
from shared.invalid_settings import run_program
from shared.lifecycle.promotion import promote
from shared.logs import configure_logs
from shared.settings import BrokerSettings, DatabaseSettings, LogSettings, ReleaseSettings
from trainer.runs.delivery import STARTER as STARTER_DESCRIPTION

log = structlog.get_logger(__name__)

STARTER = Path(__file__).parent.parent / "infra" / "starter_release"
#: Time limit for MLflow to start.
STARTUP_LIMIT_SECONDS = 120


def main() -> int:
    """Import the starter release, or log the reason for the failure in one line."""
    configure_logs(LogSettings(), service="starter")
    registry = Releases(ReleaseSettings())
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), Broker(BrokerSettings()))
    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_delay(STARTUP_LIMIT_SECONDS),
        wait=wait_fixed(0.3),
    )
    try:
        for attempt in retrying:
            with attempt:
                import_starter(registry, unit_of_work, STARTER)
    except (RayonError, RetryError) as error:
        log.error("starter_import_failed", error=str(error))
        return 1
    return 0


def import_starter(registry: Releases, unit_of_work: UnitOfWork, folder: Path) -> str:
    """Register and promote a release folder unless there is a champion; return the champion.

    Raises:
        InvalidInput: The folder is not a release.
        Unavailable: The registry or the database does not answer.
    """
    champion = registry.champion()
    if champion is not None:
        return champion
    # An earlier import may have been stopped between registering and promoting.
    known = registry.versions()
    version = (
        known[-1].version if known else registry.register(folder, description=STARTER_DESCRIPTION)
    )
    promote(
        unit_of_work, registry, version, by="starter", reason="The release that ships with Rayon"
    )
    return version


if __name__ == "__main__":
    run_program(main)
