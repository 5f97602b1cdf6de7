"""Adjustment of a release to the mix of categories that is answered today.

A model learns how frequent each category is, and answers accordingly. Training rows cover years,
so after a change of the assortment their mix is wrong for a long time. Labels of drawn answers
(`trainer.datasets.drawn_answers`) are an unbiased sample of what comes now; the release multiplies
its probabilities by the ratio of both mixes.

Source: Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori
probabilities: a simple procedure" (2002), equation 2.4.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import PermutationMethod, chi2_contingency
from sklearn.metrics import f1_score

from shared.inference.releases.fusion_model import shifted
from trainer.candidates.calibration import Doubles
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.fitting import Model, decisive
from trainer.pipeline.held_out import Chosen

Places = NDArray[np.int64]

#: Newest labels of drawn answers that count, at most.
NEWEST = 500
#: With fewer labels than this, the current mix is not known.
LEAST_LABELS = 100
#: Older labels join the newest in blocks of this size, until a block has another mix.
BLOCK = 50
#: The current mix must differ from that of the training rows beyond this probability of chance.
SIGNIFICANCE, SAMPLES = 0.01, 500
#: Parts of the whole adjustment that are tried, in their logarithm.
STRENGTHS = (1.0, 0.75, 0.5, 0.25)
#: Largest loss of weighted F1 on held-out rows of the files. A promotion is refused above
#: `trainer.release.comparison.TOLERANCE`, and the new training itself may lose, too.
LARGEST_LOSS = 0.01


@dataclass(frozen=True)
class Mix:
    """Shares of the categories, now and among the training rows.

    Attributes:
        now: Shape `(classes,)`.
        trained: Shape `(classes,)`.
        labels: Number of labels that tell the current mix.
    """

    now: Doubles
    trained: Doubles
    labels: int

    @property
    def ratios(self) -> Doubles:
        """Share now over share among the training rows, shape `(classes,)`."""
        return self.now / self.trained


def adjusted(context: TrainingContext, chosen: Chosen) -> tuple[Chosen, str]:
    """Adjust the chosen models to the current mix, if it differs from that of the training rows.

    Returns:
        The models, and a sentence about the adjustment; empty if there is none.
    """
    mix = answered_mix(context)
    if mix is None:
        return chosen, ""
    strength = next((one for one in STRENGTHS if _is_acceptable(context, chosen, mix, one)), None)
    if strength is None:
        context.log_line("not adjusted to the current mix: F1 on the rows of the files would fall")
        return chosen, ""
    ratios = mix.ratios**strength
    fusion = chosen.fusion
    if fusion is not None:
        model = replace(fusion.model, ratios=ratios.astype(np.float32))
        fusion = replace(fusion, model=model)
    found = replace(
        chosen,
        text=[_shifted(one, ratios) for one in chosen.text[:1]] + chosen.text[1:],
        image=[_shifted(one, ratios) for one in chosen.image[:1]] + chosen.image[1:],
        fusion=fusion,
    )
    part = "" if strength == 1 else f"{strength:.0%} "
    sentence = f"adjusted {part}to the mix of categories of {mix.labels} reviewed answers"
    context.log_line(sentence)
    return found, sentence


def answered_mix(context: TrainingContext) -> Mix | None:
    """Return the current mix; `None` if it is unknown or not significantly different.

    The shares are those of the sample, shrunk towards those of the training rows by the weight of
    one label for each category.
    """
    drawn = _drawn(context)
    if len(drawn) < LEAST_LABELS:
        return None
    drawn = _of_one_mix(drawn, context.settings.seed)
    classes = len(context.data.categories)
    labels = context.labels(context.data.part("train", "weak"))
    # One row more of each category: a new one may have no row to learn from yet.
    trained = _sums(labels.targets, labels.weights, classes) + 1.0
    trained /= trained.sum()
    weights = drawn["represents"].to_numpy(np.float64)
    shares = _sums(context.data.targets(drawn), weights, classes) / weights.sum()
    # Labels of unequal weights tell less than as many equal ones (Kish, "Survey Sampling", 1965).
    effective = weights.sum() ** 2 / (weights**2).sum()
    if _by_chance(shares, trained, round(effective), context.settings.seed) > SIGNIFICANCE:
        return None
    now = (effective * shares + classes * trained) / (effective + classes)
    return Mix(now, trained, len(drawn))


def _drawn(context: TrainingContext) -> pd.DataFrame:
    """Return the newest rows with a label of a drawn answer; `test` rows are left out."""
    rows = context.data.part("train", "validation")
    if "represents" not in rows:
        return rows.iloc[:0]
    return rows[rows["represents"] > 0].sort_values("answered_at", kind="stable").iloc[-NEWEST:]


def _sums(targets: Places, weights: NDArray[np.floating[Any]], classes: int) -> Doubles:
    """Return the sum of the weights by category, shape `(classes,)`."""
    return np.bincount(targets, weights, classes).astype(np.float64)


def _of_one_mix(drawn: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the newest rows, back to the last significant change of the mix.

    Rows from before a change would hide it. The test is Pearson's, by permutation.
    """
    codes = drawn["code"].to_numpy()
    start = len(codes) - LEAST_LABELS
    while start > 0:
        older = max(0, start - BLOCK)
        table = pd.crosstab(codes[older:], np.arange(older, len(codes)) < start)
        method = PermutationMethod(n_resamples=SAMPLES, rng=np.random.default_rng(seed))
        found = chi2_contingency(table, correction=False, method=method) if len(table) > 1 else None
        if found is not None and found.pvalue < SIGNIFICANCE:
            break
        start = older
    return drawn.iloc[start:]


def _by_chance(shares: Doubles, trained: Doubles, labels: int, seed: int) -> float:
    """Return the p-value of the shares if the mix were that of the training rows.

    Pearson's statistic, with its distribution by simulation: many categories have no label.
    """
    drawn = np.random.default_rng(seed).multinomial(labels, trained, size=SAMPLES) / labels
    distances = ((drawn - trained) ** 2 / trained).sum(axis=1)
    observed = ((shares - trained) ** 2 / trained).sum()
    return float((1 + (distances >= observed).sum()) / (SAMPLES + 1))


def _is_acceptable(context: TrainingContext, chosen: Chosen, mix: Mix, strength: float) -> bool:
    """Return True if no model loses too much on the held-out rows of the files."""
    return all(
        _loss(context, model, mix.ratios**strength) <= LARGEST_LOSS for model in chosen.models
    )


def _loss(context: TrainingContext, model: Model, ratios: Doubles) -> float:
    rows = context.data.rows.loc[model.held.index]
    rows = rows.iloc[decisive(rows)]
    rows = rows[rows["labelled_by"] == ""] if "labelled_by" in rows else rows
    if rows.empty:
        return 0.0
    held = model.held.loc[rows.index].to_numpy(np.float32)
    before, after = (
        f1_score(context.data.targets(rows), one.argmax(axis=1), average="weighted")
        for one in (held, shifted(held, ratios))
    )
    return float(before - after)


def _shifted(model: Model, ratios: Doubles) -> Model:
    first = model.parts[0]
    held, test = (
        pd.DataFrame(shifted(frame.to_numpy(np.float32), ratios), frame.index, frame.columns)
        for frame in (model.held, model.test)
    )
    parts = (replace(first, ratios=tuple(ratios.tolist())), *model.parts[1:])
    return replace(model, parts=parts, held=held, test=test)
