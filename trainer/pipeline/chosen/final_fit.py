"""Final fit: the models that serve are fitted again, on the held-out rows as well.

Held-out rows choose candidates, temperatures, weights and thresholds. After that they are labelled
rows like any others, a tenth of all, and the models learn from them. Nothing is chosen or tuned
again, and a release states the confidence of the models before the final fit. Its figures on `test`
rows are those of the final models, unless a run asks for a fit on these rows too: then all figures
are those of the models before.

Fits that take long are not repeated, see `refits` of `trainer.candidates.protocols`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.candidates.image.backbone import BACKBONE
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.fitting import PARTS, Model, Part
from trainer.pipeline.held_out import Chosen
from trainer.pipeline.image_stage import fit_images, readable_rows
from trainer.pipeline.row_images import RowImages
from trainer.pipeline.steps import Step
from trainer.pipeline.text.pools import probabilities_of
from trainer.pipeline.text.stage import fit_text, prepared_texts
from trainer.release.evaluation import FINAL_FIT_ROWS, FINAL_FIT_TEST_ROWS

#: Fewer rows cannot check that the release answers as the fitted models do: with 100, one row that
#: differs is the most that `trainer.pipeline.agreement` allows.
LEAST_ROWS = 100
FINAL = "final "
PROBABILITIES = "probabilities.npy"


@dataclass(frozen=True)
class FinalFit:
    """The models that ship.

    Attributes:
        chosen: The chosen models, with those that are fitted again. Their held-out rows are the
            `test` rows, for the others have been learnt from.
        names: Names of the candidates that are fitted again.
        rows: Rows that only these fits have learnt from.
        test_rows: Those of them that are `test` rows.
    """

    chosen: Chosen
    names: tuple[str, ...]
    rows: int
    test_rows: int

    def sentence(self) -> str:
        """Return what was fitted again, for the model card."""
        names = ", ".join(self.names)
        more = f"{self.rows - self.test_rows} validation"
        if self.test_rows:
            more += f" and {self.test_rows} test"
        return f"fitted again with {more} products: {names}"

    def figures(self) -> dict[str, float]:
        """Return the numbers of rows by the names of their figures."""
        return {FINAL_FIT_ROWS: float(self.rows), FINAL_FIT_TEST_ROWS: float(self.test_rows)}


def final_fit(context: TrainingContext, texts: TrainingContext, chosen: Chosen) -> FinalFit | None:
    """Fit the models that serve again, if the run asks for it; `None` if none is fitted again.

    Args:
        context: Context of the run.
        texts: The same with all rows that the text model has learnt from.
        chosen: Models that were chosen by held-out rows.
    """
    names = tuple(part.candidate.name for model in chosen.models for part in _again(model))
    which = context.settings.final_fit
    if which == "none" or not names or not _can_check(context, chosen):
        return None
    parts = (*PARTS["held"], *(PARTS["test"] if which == "test" else ()))
    text, image = chosen.serving_text, chosen.serving_image
    found = replace(
        chosen,
        text=[_text(texts, text, parts), *chosen.text[1:]] if text else chosen.text,
        image=[_image(context, image, parts), *chosen.image[1:]] if image else chosen.image,
    )
    more = _learnt(context, chosen, parts)
    final = FinalFit(found, names, len(more), int(more["part"].isin(PARTS["test"]).sum()))
    context.log_line(final.sentence())
    return final


def _can_check(context: TrainingContext, chosen: Chosen) -> bool:
    """Return True if there are enough `test` rows to compare the release with the fitted models."""
    indices = [model.test.index for model in chosen.models]
    if len(indices) == 2:
        indices.append(indices[0].intersection(indices[1]))
    rows = min(len(index) for index in indices)
    if rows < LEAST_ROWS:
        context.log_line(
            f"no final fit: expected {LEAST_ROWS} test rows of each kind to check it by; there are "
            f"{rows}"
        )
    return rows >= LEAST_ROWS


def _again(model: Model) -> list[Part]:
    return [part for part in model.parts if part.candidate.refits]


def _learnt(context: TrainingContext, chosen: Chosen, parts: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows of some parts that a model that is fitted again learns from."""
    kinds = {"text": chosen.serving_text, "image": chosen.serving_image}
    learnt = [
        context.data.part(*parts, **{kind: True})
        for kind, model in kinds.items()
        if model is not None and _again(model)
    ]
    rows = pd.concat(learnt)
    return rows[~rows.index.duplicated()]


def _text(context: TrainingContext, model: Model, parts: tuple[str, ...]) -> Model:
    rows = context.data.part(*PARTS["fit"], *parts, text=True)
    texts, labels = prepared_texts(rows), context.labels(rows)
    tested = context.data.rows.loc[model.test.index]
    return _fitted(
        context,
        model,
        lambda part: fit_text(context, part.candidate, texts, labels, FINAL),
        lambda: prepared_texts(tested),
    )


def _image(context: TrainingContext, model: Model, parts: tuple[str, ...]) -> Model:
    found = {name: readable_rows(context, name, of) for name, of in PARTS.items()}
    rows = pd.concat([*found.values()])
    rows = rows[rows["part"].isin((*PARTS["fit"], *parts))]
    images = {
        name: RowImages(of, context.features, context.log_line)
        for name, of in (("fit", rows), ("test", found["test"]))
    }
    labels = context.labels(rows)

    def fit(part: Part) -> Step:
        backbone = part.folder / BACKBONE
        return fit_images(context, part.candidate, images["fit"], labels, FINAL, backbone)

    return _fitted(context, model, fit, lambda: images["test"])


def _fitted(
    context: TrainingContext,
    model: Model,
    fit: Callable[[Part], Step],
    tested: Callable[[], Any],
) -> Model:
    """Return the model with parts that are fitted again, and its answers to the `test` rows.

    Args:
        context: Context of the run.
        model: The model as it was chosen.
        fit: Fits a part again.
        tested: Returns the texts or images of the `test` rows.
    """
    steps = {id(part): fit(part) for part in _again(model)}
    parts = tuple(
        replace(part, folder=steps[id(part)].folder) if id(part) in steps else part
        for part in model.parts
    )
    after = (*model.steps, *steps.values())

    def keep(folder: Path) -> None:
        np.save(folder / PROBABILITIES, probabilities_of(parts, tested()))

    step = context.steps.run(
        f"{model.entry.name} {FINAL}predict",
        keep,
        key=context.key | {"parts": [part.numbers for part in parts]},
        code=[probabilities_of, *(part.candidate for part in parts)],
        after=after,
    )
    scores = np.load(step.folder / PROBABILITIES)
    test = pd.DataFrame(scores, index=model.test.index, columns=model.test.columns)
    return replace(model, parts=parts, held=test, test=test, steps=after)
