"""Explanations by the starter release name what its answers depend on."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from shared.contracts import ExplainText, ExplainTextItem, Lane, Modality, ModalityExplained
from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.text import product_text
from shared.inference.serving.pool import ModelPool
from tests.support.fakes import FakeBroker, FolderReleases
from worker_text.explanation import TextExplainer
from worker_text.scorer import TextScorer
from worker_text.words import words_of

PROJECT = Path(__file__).parents[2]
STARTER = PROJECT / "infra/starter_release"
PRODUCTS = PROJECT / "infra/acceptance/golden.csv"
#: Words that are deleted from each product.
DELETED = 2
#: Random deletions of each product.
DRAWS = 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("releases")
    (root / "1").symlink_to(STARTER)
    return root


def test_deleting_the_top_words_lowers_the_probability_more_than_random_ones(root: Path) -> None:
    manifest = ReleaseManifest.read(STARTER)
    scorer = TextScorer(STARTER, manifest, threads=1)
    releases, broker = FolderReleases(root), FakeBroker()
    pool: ModelPool[str] = ModelPool(
        releases,
        lambda _folder, _manifest: scorer,
        modality=Modality.TEXT,
        max_batch=64,
        max_wait_seconds=0.0,
    )
    explainer = TextExplainer(pool, releases, broker, lambda: datetime.now(UTC))
    random = np.random.default_rng(0)
    by_top, by_chance = [], []
    with PRODUCTS.open() as file:
        products = list(csv.DictReader(file))
    assert len(products) >= 20
    for product in products:
        title, body = product["designation"], product["description"]
        column = int(scorer.score([product_text(title, body)])[0].argmax())
        item = ExplainTextItem(
            job_id="1",
            designation=title,
            description=body,
            prdtypecode=manifest.category_set.codes[column],
        )
        broker.messages.clear()
        explainer.explain_text(
            ExplainText(
                trace_id="a" * 32,
                lane=Lane.INTERACTIVE,
                release="1",
                items=(item,),
                expires_at=datetime.now(UTC) + timedelta(minutes=5),
            )
        )
        (message,) = broker.messages
        assert isinstance(message, ModalityExplained)
        (found,) = message.items
        words = words_of(title, body, 63)
        effects = {
            word.part: part.effect
            for field, parts in (
                (words.designation, found.designation),
                (words.description, found.description),
            )
            for word, part in zip(field, parts, strict=True)
            if word.part is not None
        }
        top = sorted(effects, key=lambda part: -effects[part])[:DELETED]
        chosen: list[Sequence[int]] = [
            top,
            *(random.permutation(words.parts)[:DELETED].tolist() for _ in range(DRAWS)),
        ]
        texts = [
            " ".join(
                word.text
                for word in (*words.designation, *words.description)
                if word.part not in parts
            )
            for parts in chosen
        ]
        whole, *without = scorer.score(
            [product_text(title, body), *(product_text(text, "") for text in texts)]
        )[:, column]
        by_top.append(whole - without[0])
        by_chance.append(whole - np.mean(without[1:]))
    assert np.mean(by_top) > 3 * max(np.mean(by_chance), 0.01)
    assert np.mean(np.array(by_top) > np.array(by_chance)) > 0.8
