"""Promotions of good and bad releases under the watch of the monitor.

    make watch DATA=folder

Held-out products are answered by the starter release, then a variant of it is promoted and answers
others, a few at a time, each followed by a look of the watch. A bad release must be rolled back,
with and without answers of the release before; a good one must stay. One answer in four has been
reviewed with its true category. Answers, releases, database and watch are real; the workers are
left out, and the scoring of the watch runs in this process instead of a child process.

Exits with 1 if a bad release stays or a good one is rolled back.
"""

import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import SecretStr
from sqlalchemy import select, update

from infra.acceptance.client import save
from infra.acceptance.products import dataset
from shared.db.migrations.upgrade import upgrade
from shared.db.models import Base, DriftAlert, Job, Promotion, now
from shared.db.session import UnitOfWork, open_engine
from shared.errors import ImageUnreadable, NotFound
from shared.inference.preparation.decoders import prepare
from shared.inference.releases.feature_cache import STORED, address
from shared.lifecycle.promotion import promote
from shared.logs import configure_logs
from shared.settings import DatabaseSettings, LogSettings, StorageSettings
from shared.storage import Storage, digest_in
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.quality.watch.variants import Variant, variants
from tests.bench.starter import STARTER
from tests.support.answered_jobs import AnsweredJobs
from tests.support.fakes import FakeBroker, FolderReleases
from trainer.datasets.images import read_image
from trainer.monitoring.promotion_watch.comparing import Comparing
from trainer.monitoring.promotion_watch.observations import Answer
from trainer.monitoring.promotion_watch.replies import Reply
from trainer.monitoring.promotion_watch.rescoring import score
from trainer.monitoring.promotion_watch.watch import PromotionWatch
from trainer.monitoring.settings import WatchSettings
from trainer.release.loaded import LoadedRelease
from trainer.settings import TrainerSettings

Floats = NDArray[np.float32]

#: Answers before and after a promotion, and answers between two looks at a bad and a good release.
BEFORE, AFTER = 200, 400
STEP_BAD, STEP_GOOD = 5, 50
#: One answer in this many is reviewed.
REVIEWED = 4
#: Products with an image at most; few held-out products have one.
IMAGES = 250
#: Folder of the image features, which later runs read again.
CACHE = Path("var/bench/watch")


@dataclass(frozen=True)
class InProcess(Comparing):
    """Scores in this process, each product once."""

    releases: Mapping[str, LoadedRelease] = field(default_factory=dict)
    known: dict[tuple[str, str, str], dict[str, Reply]] = field(default_factory=dict)

    def _replies(self, version: str, answers: Sequence[Answer]) -> Mapping[str, dict[str, Reply]]:
        keys = {
            one.product.id: (version, one.product.designation, one.product.description)
            for one in answers
        }
        unknown = [one.product for one in answers if keys[one.product.id] not in self.known]
        get = Storage(StorageSettings(url=str(CACHE.resolve()))).get
        found = score(self.releases[version], unknown, get, most_images=self.most_images)
        self.known.update({keys[id_]: replies for id_, replies in found.items()})
        return {id_: self.known[key] for id_, key in keys.items()}


@dataclass(frozen=True)
class Products:
    """Held-out products, with the features of their images; NaN without an image."""

    rows: pd.DataFrame
    features: Floats
    uris: list[str | None]


@dataclass(frozen=True)
class Scores:
    """Probabilities of a release; `image` is NaN without an image."""

    text: Floats
    image: Floats


@dataclass
class Promoted:
    """A promotion of version 2 after version 1, in a database of its own."""

    unit_of_work: UnitOfWork
    registry: FolderReleases
    jobs: AnsweredJobs
    products: Products

    def add(self, release: str, places: range, scores: Scores) -> None:
        """Store answers of a release to some products."""
        self.jobs.release = release
        begin = now() - timedelta(minutes=30 if release == "2" else 90)
        rows: list[Base] = []
        for place in places:
            rows += self._job(place, scores, begin + timedelta(seconds=place))
        with self.unit_of_work() as work:
            for table in dict.fromkeys(type(row) for row in rows):
                work.session.add_all([row for row in rows if type(row) is table])
                work.session.flush()

    def _job(self, place: int, scores: Scores, moment: Any) -> list[Base]:
        row = self.products.rows.iloc[place]
        image = scores.image[place] if np.isfinite(scores.image[place][0]) else None
        is_reviewed = place % REVIEWED == 0
        rows = self.jobs.make(
            moment,
            text=scores.text[place],
            image=image,
            designation=str(row["designation"]),
            description=str(row["description"]),
            image_uri=None if image is None else self.products.uris[place],
            label=int(row["code"]) if is_reviewed else None,
            labelled_at=moment,
            reason="random" if is_reviewed else None,
        )
        assert isinstance(rows[0], Job)
        rows[0].lane = "catalog"
        return rows

    def outcome(self) -> tuple[str, str, int]:
        """Return the state of the watch, its reason, and the number of alerts."""
        with self.unit_of_work.reading() as session:
            lines = session.scalars(select(Promotion).order_by(Promotion.id)).all()
            alerts = len(session.scalars(select(DriftAlert)).all())
        watch = lines[1].watch or {}
        return watch.get("state", ""), watch.get("sentence", ""), alerts


def main() -> int:
    """Print a line for each release."""
    parser = dataset_parser(__doc__)
    parser.add_argument("--good", type=int, default=20, help="good releases (default: %(default)s)")
    args = parser.parse_args()
    if not args.data.exists():
        print(f"Skipped: {args.data} is missing, and only real products show this")
        return 0
    configure_logs(LogSettings(level="ERROR"), service="watch")
    data = dataset(args.data)
    bench = Bench(_products(data.part("test")))
    print(f"{'release':<46} {'right':>6} {'same':>6}  outcome after answers")
    lines = [bench.line(variant) for variant in variants(data, args.good)]
    save("watch", lines)
    good = [line for line in lines if line["is_bad"] is False]
    rolled_back = sum(_is_rolled_back(line) for line in good)
    print(f"good releases rolled back: {rolled_back} of {len(good)}")
    bad_ones_stay = any(not _is_rolled_back(line) for line in lines if line["is_bad"])
    return 1 if rolled_back or bad_ones_stay else 0


def _is_rolled_back(line: Mapping[str, Any]) -> bool:
    return all(one["state"] == "rolled_back" for one in line["cases"].values())


class Bench:
    """Promotes variants after the starter release.

    Args:
        products: Held-out products.
    """

    def __init__(self, products: Products) -> None:
        self.products = products
        self.starter = LoadedRelease.load(STARTER)
        self.scores = _scores(self.starter, products)
        self.answers = _answers(self.starter, self.scores)
        #: Replies of the starter release, which are the same for every variant.
        self.known: dict[tuple[str, str, str], dict[str, Reply]] = {}

    def line(self, variant: Variant) -> dict[str, Any]:
        """Promote a variant, print its line and return the figures."""
        with tempfile.TemporaryDirectory(prefix="rayon-watch-") as temporary:
            root = Path(temporary)
            (root / "releases").mkdir()
            (root / "releases/1").symlink_to(STARTER, target_is_directory=True)
            variant.write(root / "releases/2")
            release = LoadedRelease.load(root / "releases/2")
            scores = _scores(release, self.products)
            known = {key: one for key, one in self.known.items() if key[0] == "1"}
            releases = {"1": self.starter, "2": release}
            registry = FolderReleases(root / "releases")
            compare = InProcess(
                registry, TrainerSettings(), 100, threading.Event(), releases=releases, known=known
            )
            cases = {"with answers before": True, "without answers before": False}
            found = {
                name: self._watched(root, variant, scores, compare, has_before=has_before)
                for name, has_before in cases.items()
                if variant.is_bad is not False or has_before
            }
            self.known = known
        answers = _answers(release, scores)
        line = {
            "release": variant.name,
            "is_bad": variant.is_bad,
            "right": float((answers == self.products.rows["code"]).mean()),
            "same": float((answers == self.answers).mean()),
            "cases": found,
        }
        words = [f"{one['state']} after {one['answers']} {name}" for name, one in found.items()]
        print(
            f"{variant.name:<46} {line['right']:>6.3f} {line['same']:>6.3f}  {', '.join(words)}",
            flush=True,
        )
        return line

    def _watched(
        self,
        root: Path,
        variant: Variant,
        scores: Scores,
        compare: InProcess,
        *,
        has_before: bool,
    ) -> dict[str, Any]:
        registry = FolderReleases(root / "releases")
        promoted = self._promoted(root, registry, has_before=has_before)
        watch = PromotionWatch(promoted.unit_of_work, registry, WatchSettings(), compare)
        step, answers = STEP_GOOD if variant.is_bad is False else STEP_BAD, 0
        watch.look()
        while promoted.outcome()[0] == "watching" and answers < AFTER:
            promoted.add("2", range(BEFORE + answers, BEFORE + answers + step), scores)
            answers += step
            watch.look()
        if promoted.outcome()[0] == "watching":
            watch.look(now() + timedelta(hours=WatchSettings().hours))
        state, sentence, alerts = promoted.outcome()
        assert (registry.champion() == "1") == (state == "rolled_back") == (alerts == 1)
        return {"state": state, "answers": answers, "sentence": sentence}

    def _promoted(self, root: Path, registry: FolderReleases, *, has_before: bool) -> Promoted:
        url = f"sqlite:///{root / str(has_before)}.db"
        upgrade(url)
        unit_of_work = UnitOfWork(open_engine(DatabaseSettings(url=SecretStr(url))), FakeBroker())
        manifest = self.starter.manifest
        jobs = AnsweredJobs(categories=manifest.category_set, fusion=self.starter.fusion)
        with unit_of_work() as work:
            work.session.add(jobs.user)
        promoted = Promoted(unit_of_work, registry, jobs, self.products)
        promote(unit_of_work, registry, "1", by="rayon", reason="starter")
        promote(unit_of_work, registry, "2", by="ada", reason="by hand")
        with unit_of_work() as work:
            moment = now() - timedelta(hours=1)
            work.session.execute(update(Promotion).values(promoted_at=moment))
        if has_before:
            promoted.add("1", range(BEFORE), self.scores)
        return promoted


def _products(rows: pd.DataFrame) -> Products:
    """Draw products with a text, and compute the features of images that are not stored yet."""
    rows = _drawn(rows[rows["has_text"]])
    release = LoadedRelease.load(STARTER)
    part, model = release.manifest.image_part, release.image
    assert model is not None
    storage = Storage(StorageSettings(url=str(CACHE.resolve())))
    features = np.full((len(rows), part.features), np.nan, np.float32)
    uris: list[str | None] = [None] * len(rows)
    for place in (place for place, image in enumerate(rows["image"]) if image):
        uri = storage.put("images", content := read_image(rows["image"][place]))
        stored = address(part.extractor or "", digest_in(uri) or "")
        try:
            found = np.frombuffer(storage.get(stored), STORED).astype(np.float32)
        except NotFound:
            try:
                found = model.features(prepare(content, part.size)[None])[0]
            except ImageUnreadable:
                continue
            storage.put_at(stored, found.astype(STORED).tobytes())
        features[place], uris[place] = found, uri
    return Products(rows, features, uris)


def _drawn(rows: pd.DataFrame) -> pd.DataFrame:
    """Draw products, of which as many as wanted have an image if there are enough."""
    has_image = rows["image"] != ""
    with_image = rows[has_image].sample(min(IMAGES, int(has_image.sum())), random_state=0)
    plain = rows[~has_image].sample(BEFORE + AFTER - len(with_image), random_state=0)
    both = pd.concat([with_image, plain])
    return both.sample(len(both), random_state=0).reset_index(drop=True)


def _scores(release: LoadedRelease, products: Products) -> Scores:
    text = release.score_texts(products.rows)
    image = np.full_like(text, np.nan)
    has_image = np.isfinite(products.features[:, 0])
    assert release.image is not None
    image[has_image] = release.image.score_features(products.features[has_image].astype(np.float16))
    return Scores(text, image)


def _answers(release: LoadedRelease, scores: Scores) -> NDArray[np.int64]:
    fused = scores.text.copy()
    has_image = np.isfinite(scores.image[:, 0])
    assert release.fusion is not None
    fused[has_image] = release.fusion.combine(scores.text[has_image], scores.image[has_image])
    codes = np.array(release.manifest.category_set.codes, np.int64)
    return np.asarray(codes[fused.argmax(axis=1)], np.int64)


if __name__ == "__main__":
    run_command(main)
