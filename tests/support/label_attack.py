"""An attack on the training data: one account labels many products wrongly."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from shared.db.datasets import upload_folder
from shared.db.migrations.upgrade import upgrade
from shared.db.models import DatasetVersion, Role, User, new_id, now
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings, StorageSettings
from shared.storage import Storage
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker
from trainer.datasets.check_queue import DatasetChecks
from trainer.datasets.versions import read_version

NAME = "shop"
#: Categories of the dataset; the client exchanges the first two.
CODES = (10, 40, 50, 60)


@dataclass(frozen=True)
class Harvest:
    """Rows of the next version of the dataset, and those that the attacker labelled."""

    rows: int
    poisoned: int
    poisoned_test: int


def harvest(
    folder: Path,
    *,
    labels: int,
    rows: int,
    labels_trusted: bool | None = None,
    role: Role = Role.CLIENT,
    honest: int = 0,
) -> Harvest:
    """Import the labels of an attacker into a dataset, and count its rows.

    Args:
        folder: Empty folder for a database and files.
        labels: Number of wrong labels.
        rows: Number of rows that an operator has uploaded.
        labels_trusted: Decision of an admin about the attacker's labels.
        role: Role of the attacker.
        honest: Number of right labels of another reviewer.
    """
    url = f"sqlite:///{folder / 'attack.db'}"
    upgrade(url)
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings(url=SecretStr(url))), FakeBroker())
    storage = Storage(StorageSettings(url=str(folder / "files")))
    checks = DatasetChecks(unit_of_work, storage, folder / "work")
    _upload(unit_of_work, storage, rows)
    checks.run_pending()
    eve = make_user("eve", labels_trusted=labels_trusted, role=role.value)
    olga = make_user("olga", role=Role.OPERATOR.value)
    eve_id = eve.id
    with unit_of_work() as work:
        work.session.add_all([eve, olga])
    poison(unit_of_work, eve, labels)
    _label(unit_of_work, olga, honest, is_wrong=False)
    asked = {"base": 1, "files": [], "remove": [], "corrected": True}
    with unit_of_work() as work:
        work.session.add(DatasetVersion(name=NAME, version=2, created_by="olga", asked=asked))
    checks.run_pending()
    unit_of_work.engine.dispose()
    found = read_version(storage, NAME, 2).rows
    is_poisoned = found["labelled_by"] == eve_id
    in_test = is_poisoned & (found["split"] == "test")
    return Harvest(len(found), int(is_poisoned.sum()), int(in_test.sum()))


def poison(unit_of_work: UnitOfWork, author: User, labels: int) -> None:
    """Store jobs of a user with wrong labels: two categories exchanged."""
    _label(unit_of_work, author, labels, is_wrong=True)


def _label(unit_of_work: UnitOfWork, author: User, labels: int, *, is_wrong: bool) -> None:
    """Store jobs that were answered rightly, with labels."""
    with unit_of_work() as work:
        for number in range(labels):
            right, wrong = CODES[number % 2], CODES[1 - number % 2]
            title = f"produit {right} numero {author.username} {number}"
            job = make_job(author, designation=title, label=wrong if is_wrong else right)
            job.prdtypecode, job.confidence = right, 0.95
            job.labelled_at, job.labelled_by = now(), author.username
            job.labelled_by_id = author.id
            work.session.add(job)


def _upload(unit_of_work: UnitOfWork, storage: Storage, rows: int) -> None:
    version = DatasetVersion(id=new_id(), name=NAME, version=1, created_by="olga")
    version.asked = {"base": None, "files": ["products"], "remove": [], "corrected": False}
    lines = (f"p{n},produit {CODES[n % 4]} article {n},{CODES[n % 4]}" for n in range(rows))
    table = "\n".join(["id,designation,prdtypecode", *lines])
    storage.put_at(f"{upload_folder(version.id)}/products.csv", table.encode())
    with unit_of_work() as work:
        work.session.add(version)
