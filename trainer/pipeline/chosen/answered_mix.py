"""Adjustment of a release to the mix of categories that is answered today.

A model learns how frequent each category is, and answers accordingly. Training rows cover years,
so after a change of the assortment their mix is wrong for a long time. Labels of drawn answers
(`trainer.datasets.labelled.drawn_answers`) are an unbiased sample of what comes now; the release
multiplies its probabilities by the ratio of both mixes.

Source: Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori
probabilities: a simple procedure" (2002), equation 2.4.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from shared.inference.releases.fusion_model import shifted
from trainer.candidates.calibration import Doubles
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.fitting import Model, decisive
from trainer.pipeline.held_out import Chosen
from trainer.release.current_mix import Mix, current_mix, given_up, sums

#: Parts of the whole adjustment that are tried, in their logarithm.
STRENGTHS = (1.0, 0.75, 0.5, 0.25)
#: Largest loss of weighted F1 on held-out rows of the files that are weighted to the current mix:
#: the adjustment should gain there, but they are few in categories that were rare.
LARGEST_LOSS = 0.01


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
        context.log_line(
            "not adjusted to the current mix: a category would be given up, or F1 fall"
        )
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
    """Return the current mix; `None` if it is unknown or not significantly different."""
    classes = len(context.data.categories)
    labels = context.labels(context.data.part("train", "weak"))
    # One row more of each category: a new one may have no row to learn from yet.
    trained = sums(labels.targets, labels.weights, classes) + 1.0
    return current_mix(context.data, trained / trained.sum(), context.settings.seed)


def _is_acceptable(context: TrainingContext, chosen: Chosen, mix: Mix, strength: float) -> bool:
    """Return True if no model loses on the current mix, or gives up a category."""
    return all(_is_kept(context, model, mix, mix.ratios**strength) for model in chosen.models)


def _is_kept(context: TrainingContext, model: Model, mix: Mix, ratios: Doubles) -> bool:
    """Judge the adjustment of a model by the held-out rows of the files."""
    rows = context.data.rows.loc[model.held.index]
    rows = rows.iloc[decisive(rows)]
    rows = rows[rows["labelled_by"] == ""] if "labelled_by" in rows else rows
    if rows.empty:
        return True
    held = model.held.loc[rows.index].to_numpy(np.float32)
    targets = context.data.targets(rows)
    answers = [one.argmax(axis=1) for one in (held, shifted(held, ratios))]
    before, after = (
        f1_score(targets, one, average="weighted", sample_weight=mix.weights(targets))
        for one in answers
    )
    return bool(before - after <= LARGEST_LOSS) and not given_up(targets, *answers)


def _shifted(model: Model, ratios: Doubles) -> Model:
    first = model.parts[0]
    held, test = (
        pd.DataFrame(shifted(frame.to_numpy(np.float32), ratios), frame.index, frame.columns)
        for frame in (model.held, model.test)
    )
    parts = (replace(first, ratios=tuple(ratios.tolist())), *model.parts[1:])
    return replace(model, parts=parts, held=held, test=test)
