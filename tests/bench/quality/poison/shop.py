"""A database and a storage, in which the real check builds versions of a dataset."""

from pathlib import Path

import pandas as pd
from pydantic import SecretStr
from sqlalchemy import delete

from shared.db.datasets import upload_folder
from shared.db.migrations.upgrade import upgrade
from shared.db.models import DatasetStatus, DatasetVersion, Job, Role, User, new_id, now
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings, StorageSettings
from shared.storage import Storage
from tests.bench.quality.poison.attacks import EVE, Attack
from tests.bench.quality.poison.model import Trained
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker
from trainer.datasets.check_queue import DatasetChecks
from trainer.datasets.folder import Dataset
from trainer.datasets.labelled.authors import LabelLimits
from trainer.datasets.versions import load_version

NAME = "shop"
NO_LIMITS = LabelLimits(rows=10**9, share=1.0, odds_ratio=0)


class Shop:
    """A database and a storage with versions of one dataset."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'shop.db'}"
        upgrade(url)
        engine = open_engine(DatabaseSettings(url=SecretStr(url)))
        self.unit_of_work = UnitOfWork(engine, FakeBroker())
        self.storage = Storage(StorageSettings(url=str(folder / "files")))
        self.folder = folder
        self.versions = 0

    def begin(self, rows: pd.DataFrame) -> Dataset:
        """Build the first version from an uploaded file."""
        version = self._asked(None, ["products"])
        table = rows[["designation", "description"]].assign(prdtypecode=rows["code"])
        table = table.assign(id=[f"p{number}" for number in range(len(rows))])
        path = f"{upload_folder(version.id)}/products.csv"
        self.storage.put_at(path, table.to_csv(index=False).encode())
        return self._checked(version, LabelLimits())

    def build(self, attack: Attack, champion: Trained, limits: LabelLimits | None) -> Dataset:
        """Build a version from the first one and the labels of an attack.

        Without limits, nothing guards it: the attacker counts as a reviewer.
        """
        has_guards = limits is not None
        role = attack.role if has_guards else Role.OPERATOR
        authors = {
            name: make_user(name, role=(role if name == EVE else Role.OPERATOR).value)
            for name in sorted(attack.labels["author"].unique())
        }
        if EVE in authors and has_guards:
            authors[EVE].labels_trusted = attack.is_trusted
        with self.unit_of_work() as work:
            work.session.execute(delete(Job))
            work.session.execute(delete(User))
            work.session.add_all(authors.values())
        with self.unit_of_work() as work:
            work.session.add_all(_jobs(attack.labels, authors, champion))
        return self._checked(self._asked(1, []), limits or NO_LIMITS)

    def _asked(self, base: int | None, files: list[str]) -> DatasetVersion:
        self.versions += 1
        asked = {"base": base, "files": files, "remove": [], "corrected": base is not None}
        return DatasetVersion(
            id=new_id(), name=NAME, version=self.versions, created_by="olga", asked=asked
        )

    def _checked(self, version: DatasetVersion, limits: LabelLimits) -> Dataset:
        id_ = version.id
        with self.unit_of_work() as work:
            work.session.add(version)
        work_folder = self.folder / "work"
        DatasetChecks(self.unit_of_work, self.storage, work_folder, limits=limits).run_pending()
        with self.unit_of_work.reading() as session:
            found = session.get_one(DatasetVersion, id_)
            if found.status != DatasetStatus.READY.value:
                raise RuntimeError(f"Expected a version to train on. Received: {found.message}")
        return load_version(self.storage, NAME, self.versions, self.folder / "images")


def _jobs(labels: pd.DataFrame, authors: dict[str, User], champion: Trained) -> list[Job]:
    scores = champion.scores(labels)
    answers, moment = champion.codes[scores.argmax(axis=1)], now()
    names = ids(len(labels))
    columns = (labels[name].tolist() for name in ("designation", "description", "label", "author"))
    return [
        make_job(
            authors[author],
            id=names[place],
            designation=designation,
            description=description,
            status="done",
            prdtypecode=int(answers[place]),
            confidence=float(scores[place].max()),
            finished_at=moment,
            label=label,
            labelled_at=moment,
            labelled_by=author,
            labelled_by_id=authors[author].id,
        )
        for place, (designation, description, label, author) in enumerate(
            zip(*columns, strict=True)
        )
    ]


def ids(count: int) -> list[str]:
    """Return ids of jobs: the same ones, and so the same parts, in every run."""
    return [f"{place:032d}" for place in range(count)]
