import numpy as np
import pytest

from shared.categories import CategorySet
from shared.contracts import Failure, Modality
from shared.inference.releases.fusion_model import FusionModel
from shared.inference.releases.novelty import Novelty
from worker_fusion.combine import Answer, Evidence, Floats, answers

CATEGORIES = CategorySet.of([(10 * n, f"Category {n}") for n in range(1, 8)])
UNREADABLE = Failure(code="image_unreadable", message="The image is broken: cut off")
MISSING = Failure(code="text_missing", message="No text")
#: Weights text three times as much as the image.
FUSION = FusionModel(
    np.full(7, 3.0, np.float32), np.full(7, 1.0, np.float32), np.zeros(7, np.float32)
)


def leaning(column: int, confidence: float) -> Floats:
    probabilities = np.full(7, (1 - confidence) / 6, np.float32)
    probabilities[column] = confidence
    return probabilities


def answer(evidence: Evidence, categories: CategorySet, fusion: FusionModel | None) -> Answer:
    """Return the answer to one job in a batch with others."""
    other = Evidence({Modality.TEXT: leaning(0, 0.5)})
    failed = Evidence({}, {Modality.IMAGE: UNREADABLE})
    found = answers([other, failed, evidence, other], categories, fusion)
    assert [other_answer.prdtypecode for other_answer in (found[0], found[1], found[3])] == [
        10,
        None,
        10,
    ]
    return found[2]


def test_fusion_model_weights_both_modalities() -> None:
    text, image = leaning(2, 0.6), leaning(5, 0.7)
    found = answer(Evidence({Modality.IMAGE: image, Modality.TEXT: text}), CATEGORIES, FUSION)
    expected = FUSION.combine(text[np.newaxis], image[np.newaxis])[0]
    assert found.prdtypecode == 30
    assert found.confidence == pytest.approx(float(expected[2]), abs=1e-4)
    assert found.result is not None
    assert found.result["category"] == "Category 3"
    assert found.result["degraded"] is None
    assert found.result["modalities"] == {
        "text": {"prdtypecode": 30, "confidence": 0.6},
        "image": {"prdtypecode": 60, "confidence": 0.7},
    }


def test_top_lists_the_five_most_likely_categories_in_order() -> None:
    probabilities = np.array([0.05, 0.3, 0.1, 0.25, 0.02, 0.2, 0.08], np.float32)
    found = answer(Evidence({Modality.TEXT: probabilities}), CATEGORIES, FUSION)
    assert found.result is not None
    assert [row["prdtypecode"] for row in found.result["top"]] == [20, 40, 60, 30, 70]
    assert found.result["top"][0] == {
        "prdtypecode": 20,
        "category": "Category 2",
        "probability": 0.3,
    }


def test_answer_from_the_only_wanted_modality_is_not_degraded() -> None:
    found = answer(Evidence({Modality.IMAGE: leaning(5, 0.7)}), CATEGORIES, FUSION)
    assert (found.prdtypecode, found.confidence) == (60, 0.7)
    assert found.result is not None
    assert found.result["degraded"] is None
    assert list(found.result["modalities"]) == ["image"]


def test_failed_modality_degrades_the_answer_with_the_reason() -> None:
    evidence = Evidence({Modality.TEXT: leaning(1, 0.9)}, {Modality.IMAGE: UNREADABLE})
    found = answer(evidence, CATEGORIES, FUSION)
    assert found.failure is None
    assert (found.prdtypecode, found.confidence) == (20, 0.9)
    assert found.result is not None
    assert found.result["degraded"] == "image_unreadable"


def test_job_without_scores_fails_with_the_reason() -> None:
    found = answer(Evidence({}, {Modality.IMAGE: UNREADABLE}), CATEGORIES, FUSION)
    assert found.failure == UNREADABLE
    assert (found.prdtypecode, found.confidence, found.result) == (None, None, None)


def test_job_with_two_failures_fails_with_one_of_the_reasons() -> None:
    failures = {Modality.TEXT: MISSING, Modality.IMAGE: UNREADABLE}
    assert answer(Evidence({}, failures), CATEGORIES, FUSION).failure in (MISSING, UNREADABLE)


def test_answer_names_categories_of_a_tree_with_their_paths() -> None:
    names = ["Maison > Literie", "Maison > Draps", "Jardin"]
    tree = CategorySet.of(enumerate(names, start=1), separator=">")
    probabilities = np.array([0.1, 0.7, 0.2], np.float32)
    [found] = answers([Evidence({Modality.TEXT: probabilities})], tree, None)
    assert found.result is not None
    assert found.result["category"] == "Maison > Draps"
    assert found.result["category_path"] == ["Maison", "Draps"]
    assert [row["category_path"] for row in found.result["top"]] == [
        ["Maison", "Draps"],
        ["Jardin"],
        ["Maison", "Literie"],
    ]


def test_answer_without_a_tree_has_no_path() -> None:
    [found] = answers([Evidence({Modality.TEXT: leaning(0, 0.5)})], CATEGORIES, None)
    assert found.result is not None
    assert "category_path" not in found.result


def known_products(rows: int = 400) -> Floats:
    """Return answers that rule most categories out, some more than others."""
    rest = np.geomspace(1e-4, 1e-2, rows)[:, np.newaxis]
    found = np.tile(rest, (1, 7))
    found[:, 2] = 1 - 6 * rest[:, 0]
    return found.astype(np.float32)


#: Scales of a release whose fusion is surer than its text model.
NOVELTY = Novelty.fitted({"text": known_products(), "fusion": known_products() ** 2})


def result_of(evidence: Evidence, novelty: Novelty) -> dict[str, object]:
    (found,) = answers([evidence], CATEGORIES, FUSION, novelty)
    assert found.result is not None
    assert found.is_foreign is found.result.get("is_foreign")
    return found.result


def test_flat_answer_is_foreign_although_a_category_leads() -> None:
    found = result_of(Evidence({Modality.TEXT: leaning(2, 0.61)}), NOVELTY)
    assert (found["is_foreign"], found["novelty"]) == (True, 1.0)


def test_sure_answer_is_not_foreign() -> None:
    found = result_of(Evidence({Modality.TEXT: known_products()[200]}), NOVELTY)
    assert found["is_foreign"] is False
    assert found["novelty"] == pytest.approx(0.5, abs=0.01)


def test_each_kind_of_answer_has_its_own_scale() -> None:
    text = known_products()[300]
    both = Evidence({Modality.IMAGE: np.full(7, 1 / 7, np.float32), Modality.TEXT: text})
    degraded = Evidence({Modality.TEXT: text}, {Modality.IMAGE: UNREADABLE})
    scales = {"text": NOVELTY.scales["text"], "fusion": NOVELTY.scales["text"] - 10}
    novelty = Novelty(scales)
    assert result_of(degraded, novelty)["is_foreign"] is False
    assert result_of(both, novelty)["is_foreign"] is True


def test_release_without_scales_says_nothing_about_foreign_products() -> None:
    found = result_of(Evidence({Modality.TEXT: leaning(2, 0.61)}), Novelty({}))
    assert not {"is_foreign", "novelty"} & found.keys()
    image = Evidence({Modality.IMAGE: leaning(2, 0.61)})
    assert "is_foreign" not in result_of(image, NOVELTY)
