"""Three months of a shop from real held-out rows, and their reports as pages.

    python -m tests.bench.quality.quarter --data FOLDER --out FOLDER [--jobs 9000]

Everything is real but the calendar: test rows of the dataset, scored by the starter release, become
jobs with their scores; people review a sample and say the true category. The first month is like
the test set; in the second other categories come in, the monitor alerts and a release takes over;
in the third texts arrive cut and images dark. Windows, alerts and figures are the monitor's own;
what comes of the trainings is made up, and every release has the starter's models. Scores are kept,
so that a second run is quick. Nothing of the data leaves the folder OUT.
"""

import argparse
import io
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.acceptance.products import dataset
from shared.contracts import Modality
from shared.db.migrations.upgrade import upgrade
from shared.db.models import (
    Base,
    Catalog,
    CatalogStatus,
    DriftAlert,
    DriftWindow,
    Job,
    Promotion,
    Report,
    Review,
    TrainingRun,
    TrainingStatus,
    now,
)
from shared.db.session import UnitOfWork, open_engine
from shared.errors import ImageUnreadable, NotFound
from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.image import prepare
from shared.inference.releases.fusion_model import FusionModel
from shared.logs import configure_logs
from shared.settings import DatabaseSettings, LogSettings, StorageSettings
from shared.storage import Storage
from tests.support.answered_jobs import AnsweredJobs
from tests.support.fakes import FakeBroker, FolderReleases
from trainer.datasets.folder import Dataset
from trainer.datasets.images import read_image
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.drift.windows import DriftWatch
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.report.reports import Reports
from trainer.monitoring.settings import DriftSettings, MonitorSettings
from trainer.release.loaded import LoadedRelease, release_digest
from trainer.settings import TrainerSettings

Floats = NDArray[np.float32]

STARTER = Path("infra/starter_release")
MONTHS = ("2026-07", "2026-08", "2026-09")
#: What is scored: as it is, and as it comes in the third month.
AS_IT_IS, CUT = "as it is", "cut"
CUT_CHARACTERS = 14
DARK = 0.25
#: Categories that come in four times as often in the second month: games and their like.
GROWING = (40, 50, 60, 2462, 2905)
#: Answers drawn for review: below this confidence more often.
UNSURE, UNSURE_CHANCE, CHANCE = 0.5, 0.12, 0.03
#: From this day of the third month on products come cut.
FIRST_CUT = 10
#: Answers of a window of drift.
WINDOW = 500
#: Rows committed together.
AT_ONCE = 1_500


@dataclass(frozen=True)
class Pool:
    """Rows with their probabilities; not a number where a modality is missing."""

    rows: pd.DataFrame
    text: dict[str, Floats]
    image: dict[str, Floats]
    uris: dict[str, list[str | None]]


def scored(data: Dataset, folder: Path, kept: Path, storage: Storage) -> Pool:
    """Score the test rows as they are, and as they come when texts are cut and images dark."""
    rows = data.part("test")
    rows = rows[rows["has_text"] | (rows["image"] != "")].reset_index(drop=True)
    uris = {how: [_stored(storage, one, how) for one in rows["image"]] for how in (AS_IT_IS, CUT)}
    path = kept / f"{data.fingerprint[:16]}-{release_digest(folder)[:16]}-{CUT_CHARACTERS}.npz"
    if path.exists():
        there = np.load(path)
        text, image = ({how: there[f"{m}-{how}"] for how in (AS_IT_IS, CUT)} for m in ("t", "i"))
        return Pool(rows, text, image, uris)
    release = LoadedRelease.load(folder)
    text = {how: _texts(release, rows, how) for how in (AS_IT_IS, CUT)}
    image = {how: _images(release, rows, how) for how in (AS_IT_IS, CUT)}
    kept.mkdir(parents=True, exist_ok=True)
    arrays = {f"t-{how}": one for how, one in text.items()}
    np.savez(path, allow_pickle=False, **arrays, **{f"i-{how}": one for how, one in image.items()})
    return Pool(rows, text, image, uris)


def _stored(storage: Storage, image: str, how: str) -> str | None:
    if not image:
        return None
    content = read_image(image)
    if how == CUT:
        with Image.open(io.BytesIO(content)) as opened:
            dark = opened.convert("RGB").point(lambda value: int(value * DARK))
        made = io.BytesIO()
        dark.save(made, "JPEG")
        content = made.getvalue()
    return storage.put("images", content)


def _texts(release: LoadedRelease, rows: pd.DataFrame, how: str) -> Floats:
    found = np.full((len(rows), len(release.manifest.categories)), np.nan, np.float32)
    has_text = rows["has_text"].to_numpy(bool)
    chosen = rows[has_text]
    if how == CUT:
        chosen = chosen.assign(
            designation=chosen["designation"].str[:CUT_CHARACTERS], description=""
        )
    found[has_text] = release.score_texts(chosen)
    return found


def _images(release: LoadedRelease, rows: pd.DataFrame, how: str) -> Floats:
    found = np.full((len(rows), len(release.manifest.categories)), np.nan, np.float32)
    assert release.image is not None
    for place, image in enumerate(rows["image"]):
        if not image:
            continue
        with suppress(ImageUnreadable, NotFound):
            pixels = prepare(read_image(image), release.manifest.image_part.size)
            if how == CUT:
                pixels = (pixels * DARK).astype(np.uint8)
            found[place] = release.image.score(pixels[None])[0]
    return found


@dataclass
class Shop:
    """Fills a database, a month at a time."""

    unit_of_work: UnitOfWork
    pool: Pool
    jobs: AnsweredJobs
    random: np.random.Generator

    def month(
        self,
        month: Period,
        jobs: int,
        *,
        growing: float = 1.0,
        cut: float = 0.0,
        days: tuple[int, int] = (0, 31),
    ) -> None:
        """Answer products of a month.

        Args:
            month: When.
            jobs: How many.
            growing: How much more often products of `GROWING` come in.
            cut: Share of the products that come cut and dark from the tenth of the month on.
            days: First and last of the month, if not all.
        """
        length = (month.ends_at - month.begins_at).days
        weights = np.where(self.pool.rows["code"].isin(GROWING), growing, 1.0)
        chosen = self.random.choice(len(self.pool.rows), jobs, p=weights / weights.sum())
        moments = np.sort(_moments(self.random, (days[0], min(days[1], length)), jobs))
        waiting: list[Base] = []
        for place, seconds in zip(chosen, moments, strict=True):
            moment = month.begins_at + timedelta(seconds=float(seconds))
            is_cut = moment.day >= FIRST_CUT and self.random.random() < cut
            waiting += self._job(int(place), moment, CUT if is_cut else AS_IT_IS)
            if len(waiting) > AT_ONCE:
                self.add(waiting)
                waiting = []
        self.add(waiting)

    def add(self, rows: Sequence[Base]) -> None:
        """Commit rows, jobs before what belongs to them."""
        with self.unit_of_work() as work:
            for kind in dict.fromkeys(type(row) for row in rows):
                work.session.add_all([row for row in rows if type(row) is kind])
                work.session.flush()

    def _job(self, place: int, moment: datetime, how: str) -> list[Base]:
        row = self.pool.rows.iloc[place]
        text, image = self.pool.text[how][place], self.pool.image[how][place]
        designation = str(row["designation"])
        broken = Modality.IMAGE if self.random.random() < 0.012 else None
        changes: dict[str, Any] = {"lane": "interactive"}
        seconds = float(self.random.lognormal(-2.4, 0.6))
        if self.random.random() < 0.55:
            changes["lane"], seconds = "catalog", float(self.random.lognormal(2.2, 0.9))
        if np.isfinite(text[0]) and self.random.random() < 0.1:
            changes["model"], image = "text", np.full_like(image, np.nan)
        made = self.jobs.make(
            moment,
            text=text if np.isfinite(text[0]) else None,
            image=image if np.isfinite(image[0]) and broken is None else None,
            broken=broken,
            seconds=seconds,
            designation=designation[:CUT_CHARACTERS] if how == CUT else designation,
            description="" if how == CUT else str(row["description"]),
            image_uri=self.pool.uris[how][place] if broken is None else None,
            **changes,
        )
        return self._reviewed(made, int(row["code"]), moment)

    def _reviewed(self, made: list[Base], code: int, moment: datetime) -> list[Base]:
        job = made[0]
        assert isinstance(job, Job)
        if job.confidence is None:
            return made
        is_unsure = job.confidence < UNSURE
        chance = UNSURE_CHANCE if is_unsure else CHANCE
        is_drawn = self.random.random() < chance
        # Nine of ten drawn answers are looked at; and customers complain about some wrong ones.
        says = self.random.random() < (0.9 if is_drawn else 0.01 * (job.prdtypecode != code))
        if says:
            job.label, job.labelled_by = code, "olga" if is_drawn else "shop"
            job.labelled_at = moment + timedelta(hours=float(self.random.uniform(1, 40)))
        if not is_drawn:
            return made
        reason = "uncertain" if is_unsure else "random"
        return [*made, Review(job_id=job.id, chosen_at=moment, reason=reason, chance=chance)]


def _moments(random: np.random.Generator, days: tuple[int, int], jobs: int) -> NDArray[np.float64]:
    """Seconds of the month: fewer at weekends and at night."""
    every = np.arange(*days)
    week = np.where(every % 7 < 5, 1.0, 0.45)
    day = random.choice(every, jobs, p=week / week.sum())
    hour = np.clip(random.normal(14, 4, jobs), 0, 23)
    found: NDArray[np.float64] = day * 86_400 + hour * 3_600 + random.uniform(0, 3_000, jobs)
    return found


@dataclass
class Quarter:
    """Events besides the answers: releases, catalogs, drift, alerts and training runs."""

    shop: Shop
    registry: FolderReleases
    drift: DriftWatch
    response: AlertResponse

    def promote(self, version: str, moment: datetime, by: str, reason: str, f1: float) -> None:
        """A release takes over."""
        line = Promotion(
            promoted_at=moment,
            version=version,
            previous_version=self.registry.champion() if version != "1" else None,
            promoted_by=by,
            reason=reason,
            figures={"fusion_f1_plain": f1},
        )
        self.shop.add([line])
        self.registry.mark_champion(version)

    def catalogs(self, month: Period, count: int) -> None:
        """Files that shops sent."""
        made = [
            Catalog(
                user_id=self.shop.jobs.user.id,
                trace_id="0" * 32,
                name=f"shop-{number}.csv",
                model="fusion",
                release="1",
                dry_run=False,
                fingerprint=f"{month.name}-{number}",
                size=int(rows) * 300,
                has_images=False,
                status=CatalogStatus.FINISHED.value,
                created_at=month.begins_at + timedelta(days=number % 28, hours=9),
                rows=int(rows),
            )
            for number, rows in enumerate(self.shop.random.integers(40, 700, count))
        ]
        self.shop.add(made)

    def watch(self, outcome: str, version: str) -> list[datetime]:
        """Measure what was answered since the last time; alerts are decided and trained on.

        What the monitor does takes place now; its rows are moved to when the answers were.

        Args:
            outcome: What the training says at its end.
            version: Of the release that it makes.

        Returns:
            When alerts were raised.
        """
        begun = now()
        self.drift.look()
        self.response.look()
        with self.shop.unit_of_work() as work:
            runs = work.session.scalars(
                select(TrainingRun).where(TrainingRun.requested_at >= begun)
            ).all()
            for run in runs:
                run.status, run.version = TrainingStatus.FINISHED.value, version
                run.message = outcome
        self.response.look()
        with self.shop.unit_of_work() as work:
            alerts = work.session.scalars(
                select(DriftAlert).where(DriftAlert.raised_at >= begun)
            ).all()
            return [_move(work.session, alert, begun) for alert in alerts]


def _move(session: Session, alert: DriftAlert, begun: datetime) -> datetime:
    """Move an alert to the second window in a row that had moved; returns the moment."""
    windows = session.scalars(
        select(DriftWindow)
        .where(DriftWindow.release == alert.release, DriftWindow.measured_at >= begun)
        .order_by(DriftWindow.ends_at)
    ).all()
    kind = alert.kind.split("+")[0]
    moment = next(
        second.ends_at
        for first, second in pairwise(windows)
        if kind in first.moved and kind in second.moved
    )
    minutes = (0, 0, 184, 185)
    alert.steps = [
        {**step, "at": (moment + timedelta(minutes=late)).isoformat()}
        for step, late in zip(alert.steps, minutes, strict=False)
    ]
    alert.raised_at, alert.ended_at = moment, moment + timedelta(minutes=184)
    if alert.training_run_id is not None:
        run = session.get_one(TrainingRun, alert.training_run_id)
        run.requested_at, run.finished_at = moment, moment + timedelta(minutes=184)
    return moment


def fill(data: Dataset, source: Path, out: Path, jobs: int) -> Iterator[str]:
    """Live through the quarter; yields a line for each month."""
    storage = Storage(StorageSettings(url=str(out / "files")))
    pool = scored(data, STARTER, out / "kept", storage)
    unit_of_work, registry = _database(out), _releases(out)
    manifest = ReleaseManifest.read(STARTER)
    made = AnsweredJobs(
        categories=manifest.category_set, fusion=FusionModel.load(STARTER / "fusion")
    )
    shop = Shop(unit_of_work, pool, made, np.random.default_rng(0))
    shop.add([made.user])
    settings = MonitorSettings(trainings_per_week=20)
    drift = DriftWatch(
        unit_of_work, registry, storage, DriftSettings(window_rows=WINDOW, cooldown_seconds=0)
    )
    quarter = Quarter(shop, registry, drift, AlertResponse(unit_of_work, settings))
    trainer = TrainerSettings(data=source.resolve(), work_folder=out / "kept")
    performances = Performances(unit_of_work, registry, settings, trainer)
    reports = Reports(unit_of_work, registry, performances)
    f1 = manifest.figures["fusion_f1_plain"]
    for name, live in zip(MONTHS, (_first, _second, _third), strict=True):
        month = Period.month(name)
        live(quarter, month, jobs, f1)
        performances.score_champion(month.ends_at - timedelta(days=6))
        performances.measure(month.ends_at + timedelta(hours=6))
        started = time.perf_counter()
        verdict = reports.make(name, month.ends_at + timedelta(hours=6))
        _write(unit_of_work, name, out)
        yield f"{name}: {verdict}, made in {time.perf_counter() - started:.1f} s"


def _first(quarter: Quarter, month: Period, jobs: int, f1: float) -> None:
    """Like the test set."""
    quarter.promote("1", month.begins_at, "installation", "The release that Rayon ships with", f1)
    quarter.catalogs(month, 9)
    quarter.shop.month(month, jobs)
    quarter.watch("Undecided: the champion stays", "2")


def _second(quarter: Quarter, month: Period, jobs: int, f1: float) -> None:
    """More games; an alert, a training, and its release takes over."""
    quarter.catalogs(month, 11)
    quarter.shop.month(month, int(jobs * 0.35), growing=4.0, days=(0, 10))
    raised = quarter.watch("Better by 0.0112 on the same 3930 rows: promoted", "2")
    moment = raised[0] if raised else month.begins_at + timedelta(days=9)
    reason = "Better on the same held-out rows: difference +0.0112 (+0.0021 to +0.0204)"
    quarter.promote("2", moment + timedelta(minutes=184), "trainer", reason, f1 + 0.0112)
    quarter.shop.jobs.release = "2"
    quarter.shop.month(month, int(jobs * 0.8), growing=3.0, days=(10, 31))
    quarter.watch("Undecided: the champion stays", "3")


def _third(quarter: Quarter, month: Period, jobs: int, f1: float) -> None:
    """Texts arrive cut and images dark; a training does not help, for the labels are few."""
    quarter.catalogs(month, 8)
    quarter.shop.month(month, int(jobs * 1.05), growing=2.0, cut=0.75)
    quarter.watch("Not better, the champion stays: difference -0.0019 (-0.0101 to +0.0060)", "3")


def _database(out: Path) -> UnitOfWork:
    path = out / "quarter.db"
    for old in out.glob("quarter.db*"):
        old.unlink()
    url = f"sqlite:///{path}"
    upgrade(url)
    return UnitOfWork(open_engine(DatabaseSettings(url=SecretStr(url))), FakeBroker())


def _releases(out: Path) -> FolderReleases:
    root = out / "releases"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for version in ("1", "2"):
        # The same models twice: what changes in this quarter is what comes in.
        (root / version).symlink_to(STARTER.resolve(), target_is_directory=True)
    return FolderReleases(root)


def _write(unit_of_work: UnitOfWork, month: str, out: Path) -> None:
    with unit_of_work.reading() as session:
        report = session.get_one(Report, month)
        (out / f"{month}.html").write_text(report.page, "utf-8")
        (out / f"{month}.json").write_text(json.dumps(report.document, indent=1), "utf-8")


def main() -> None:
    """Fill the database, write the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the challenge's layout")
    parser.add_argument("--out", type=Path, required=True, help="folder for database and pages")
    parser.add_argument("--jobs", type=int, default=9_000, help="of the first month")
    given = parser.parse_args()
    configure_logs(LogSettings(level="WARNING"), service="quarter")
    given.out.mkdir(parents=True, exist_ok=True)
    for line in fill(dataset(given.data), given.data, given.out, given.jobs):
        print(line)
    print(f"{given.out}: {', '.join(f'{month}.html' for month in MONTHS)}")


if __name__ == "__main__":
    main()
