from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.inference.releases.novelty import FOREIGN_FROM, LEAST_ROWS, NOVELTY_FILE, Novelty


def answers(rows: int, sharpness: float, seed: int = 0) -> NDArray[np.float32]:
    """Return probabilities of 10 categories; the sharper, the more are ruled out."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1, (rows, 10)) * sharpness
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float32] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def test_score_is_the_rank_among_known_products() -> None:
    novelty = Novelty.fitted({"text": answers(4_000, 4)})
    found = novelty.score("text", answers(4_000, 4, seed=1))
    assert found is not None
    assert 0.035 < (found >= FOREIGN_FROM).mean() < 0.065
    assert np.quantile(found, 0.5) == pytest.approx(0.5, abs=0.03)
    assert found.min() >= 0
    assert found.max() <= 1


def test_flat_answer_is_foreign_even_if_one_category_leads() -> None:
    novelty = Novelty.fitted({"text": answers(4_000, 4)})
    flat = np.full((1, 10), 0.39 / 9)
    flat[0, 3] = 0.61
    sure = np.full((1, 10), 1e-5)
    sure[0, [3, 4]] = 0.61, 0.39
    assert novelty.score("text", flat)[0] > FOREIGN_FROM > novelty.score("text", sure)[0]  # type: ignore[index]


def test_messages_digits_do_not_change_the_score() -> None:
    known = answers(4_000, 6)
    novelty = Novelty.fitted({"text": known})
    whole, rounded = (novelty.score("text", one) for one in (known, known.round(6)))
    assert whole is not None
    assert rounded is not None
    assert np.abs(whole - rounded).max() < 0.02


def test_release_whose_answers_all_look_alike_finds_none_foreign() -> None:
    same = np.tile(np.array([[1.0, 0.0, 0.0]]), (100, 1))
    found = Novelty.fitted({"text": same}).score("text", same)
    assert found is not None
    assert (found < FOREIGN_FROM).all()


def test_kind_with_too_few_products_has_no_score() -> None:
    held = {"text": answers(LEAST_ROWS, 4), "image": answers(LEAST_ROWS - 1, 4)}
    novelty = Novelty.fitted(held)
    assert novelty.score("text", held["text"]) is not None
    assert novelty.score("image", held["image"]) is None


def test_scales_are_kept(tmp_path: Path) -> None:
    novelty = Novelty.fitted({"text": answers(500, 4)})
    novelty.save(tmp_path / "fusion")
    kept = Novelty.load(tmp_path / "fusion")
    rows = answers(50, 2, seed=3)
    np.testing.assert_allclose(
        kept.score("text", rows),  # type: ignore[arg-type]
        novelty.score("text", rows),  # type: ignore[arg-type]
        atol=0.005,
    )


def test_release_of_an_earlier_version_has_no_scores(tmp_path: Path) -> None:
    assert Novelty.load(tmp_path / "fusion").score("text", answers(3, 4)) is None
    Novelty({}).save(tmp_path / "fusion")
    assert not (tmp_path / "fusion").exists()


@pytest.mark.parametrize("content", ["{", '{"scales": {"text": [1, 2]}}', "{}"])
def test_broken_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / NOVELTY_FILE).write_text(content)
    with pytest.raises(InvalidInput, match="novelty"):
        Novelty.load(tmp_path)
