"""Self-training: rows to learn from out of recent products that nobody labelled.

After a change there are a few hundred labels, but thousands of products. The text model labels
those of which it is sure, once it is adjusted to the current mix, and is fitted again on them as
well. They weigh as weakly labelled rows do, and neither decide, nor calibrate, nor test.

Sources: Scudder, "Probability of error of some adaptive pattern-recognition machines" (1965); Lee,
"Pseudo-Label" (2013).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from shared.inference.releases.fusion_model import shifted
from trainer.candidates.protocols import TextCandidate
from trainer.datasets.split import split_key
from trainer.pipeline.chosen.answered_mix import answered_mix
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.fitting import Model
from trainer.pipeline.text.pools import probabilities_of
from trainer.pipeline.text.stage import prepared_texts
from trainer.release.current_mix import Mix

#: Confidence from which a product is learnt from with the answer of the model.
SURE = 0.6
#: Fewer products are not worth another fit.
LEAST_ROWS = 200


def with_answers(context: TrainingContext, model: Model) -> tuple[TrainingContext, str]:
    """Add recent products to the rows to learn from, if the mix of categories has changed.

    Args:
        context: Context of the run; `settings.answers` has the products.
        model: The text model that labels them.

    Returns:
        A context with these products as weakly labelled rows, and a sentence about them; the same
        context and nothing if there are none.
    """
    path, mix = context.settings.answers, answered_mix(context)
    if path is None or mix is None:
        return context, ""
    rows = _labelled(context, model, mix, _unseen(context, read_answers(path, mix.since)))
    if len(rows) < LEAST_ROWS:
        context.log_line(f"{len(rows)} recent products with a sure answer: too few to learn from")
        return context, ""
    data = context.data
    content = rows[["designation", "description", "code"]].to_json(orient="values")
    digest = hashlib.sha256(f"{data.fingerprint} {content}".encode()).hexdigest()
    all_rows = pd.concat([data.rows, rows])
    sentence = f"{len(rows)} recent products that nobody labelled, with the answers of the model"
    context.log_line(f"learning from {sentence}")
    return replace(context, data=replace(data, rows=all_rows, stored_fingerprint=digest)), sentence


def candidates_again(
    model: Model, candidates: Sequence[TextCandidate], students: Sequence[TextCandidate]
) -> tuple[list[TextCandidate], list[TextCandidate]]:
    """Return the candidates and students that a model consists of, with the teacher of students."""
    used = {part.candidate.name for part in model.parts}
    again = [one for one in students if one.name in used]
    return [one for one in candidates if one.name in used or (again and one.is_teacher)], again


def read_answers(path: Path, since: float) -> pd.DataFrame:
    """Read the products that were answered after a moment, in seconds since the epoch."""
    with path.open(encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    rows = pd.DataFrame(found, columns=["designation", "description", "answered_at"])
    return rows.loc[rows["answered_at"].astype(float) >= since]


def _unseen(context: TrainingContext, answers: pd.DataFrame) -> pd.DataFrame:
    """Leave out products whose titles are in the dataset: a held-out row is never learnt from."""
    known = {split_key(title) for title in context.data.rows["designation"]}
    keys = answers["designation"].map(split_key)
    return answers[~keys.isin(known) & ~keys.duplicated()]


def _labelled(
    context: TrainingContext, model: Model, mix: Mix, answers: pd.DataFrame
) -> pd.DataFrame:
    """Return rows with the answer of the model, adjusted to the current mix, where it is sure."""
    if answers.empty:
        return answers
    found = shifted(probabilities_of(model.parts, prepared_texts(answers)), mix.ratios)
    codes = np.array(context.data.categories.codes)[found.argmax(axis=1)]
    rows = answers.assign(code=codes)[found.max(axis=1) >= SURE]
    columns = {"part": "weak", "image": "", "has_text": True, "represents": 0.0, "answered_at": 0.0}
    rows = rows.assign(**columns, labelled_by="")
    # Numbers of their own: rows are looked up by number.
    rows.index = pd.Index([f"answer-{number}" for number in range(len(rows))])
    found_rows: pd.DataFrame = rows.reindex(columns=context.data.rows.columns, fill_value="")
    return found_rows
