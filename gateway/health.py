"""Whether the gateway can do its work."""

from sqlalchemy import text

from gateway.champion import ChampionWatch
from gateway.schemas import Health
from shared.broker import Broker
from shared.db.session import UnitOfWork
from shared.errors import Unavailable


def readiness(unit_of_work: UnitOfWork, broker: Broker, champion: ChampionWatch) -> Health:
    """Check what a job needs: the tables and a release.

    The queue is told of too, but without it jobs are still taken and sent later.
    """
    checks = {"database": _database(unit_of_work), "release": _release(champion)}
    is_ready = all(check == "ok" for check in checks.values())
    checks["queue"] = "ok" if broker.is_alive() else "does not answer; jobs are kept"
    return Health(status="ok" if is_ready else "unavailable", checks=checks)


def _database(unit_of_work: UnitOfWork) -> str:
    try:
        with unit_of_work.reading() as session:
            session.execute(text("SELECT 1 FROM jobs WHERE id = ''"))
    except Unavailable as error:
        return error.detail
    return "ok"


def _release(champion: ChampionWatch) -> str:
    try:
        champion.current()
    except Unavailable as error:
        return error.detail
    return "ok"
