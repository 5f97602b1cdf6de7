"""The model card of a release, in Markdown."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.categories import Category
from shared.inference.manifest import ReleaseManifest
from trainer.datasets.findings import LabelShare
from trainer.pipeline.leaderboard import Entry, as_markdown
from trainer.pipeline.steps import Step
from trainer.release.evaluation import FINAL_FIT_ROWS, FINAL_FIT_TEST_ROWS
from trainer.release.intervals import Interval

#: One-line descriptions of the models.
MODELS = {
    "text_ngrams": "hashed words and runs of characters, tf-idf, linear classifier",
    "text_rnn": "pretrained subword vectors, bidirectional GRU, attention, max and mean pooling",
    "text_sentence": "multilingual universal sentence encoder, frozen, with a fitted head",
    "text_transformer": "pretrained transformer encoder, fine-tuned, in 8-bit integers",
    "text_rnn_taught": "the recurrent network, fitted on a teacher's answers too",
    "text_combined": "log-linear pool of the text candidates",
    "text_combined_by_category": "the same pool with weights by category",
    "text_combined_cascade": "the pool, asked only where its cheapest model is unsure",
    "text_combined_by_category_cascade": (
        "pool with weights by category, asked only where its cheapest model is unsure"
    ),
    "text_combined_taught": "log-linear pool that includes a teacher's student",
    "text_combined_by_category_taught": "the same with weights by category",
    "image_xception": "Xception with ImageNet weights, frozen, with a fitted head; 299 x 299",
    "image_xception_tuned": "Xception whose last block was fitted too; 299 x 299",
    "image_efficientnet_lite0": "EfficientNet-Lite0, frozen, with a fitted head; 299 x 299",
    "image_pair": "Xception and EfficientNet-Lite0, frozen, under one fitted head; 299 x 299",
    "image_resnet50": "ResNet50, frozen, with a fitted head; 224 x 224",
    "image_champion": "network of the previous champion, with a newly fitted head",
    "fusion_text_alone": "the text model's answer; the image decides only where there is no text",
    "fusion_mean": "weighted mean of both models' probabilities",
    "fusion_log_linear": "weighted sum of both models' log-probabilities",
    "fusion_stacking": "log-linear pool with weights by category, shrunk towards common ones",
}
#: Rows of the table of figures: prefix in the manifest, and label.
PARTS = {
    "text": "text",
    "image": "image",
    "fusion": "fusion (rows with both)",
    "text_both": "text, on the fusion's rows",
    "image_both": "image, on the fusion's rows",
}
COLUMNS = ("rows", "f1_plain", "f1_official", "calibration_error", "log_loss")

#: Power of a core of a server at full use, and of a gigabyte of memory (Green Algorithms, 2021).
WATTS_PER_CORE, WATTS_PER_GIGABYTE = 12.0, 0.3725
#: Steps that a card lists.
LONGEST_STEPS = 5
#: Categories that a card lists.
LISTED_CATEGORIES = 1_000
#: Category codes of the Rakuten France challenge, whose data has known properties.
CHALLENGE = frozenset((
    10, 40, 50, 60, 1140, 1160, 1180, 1280, 1281, 1300, 1301, 1302, 1320, 1560, 1920, 1940, 2060,
    2220, 2280, 2403, 2462, 2522, 2582, 2583, 2585, 2705, 2905,
))  # fmt: skip
_CHALLENGE_DATA = """\
The data is that of the Rakuten France Multimodal Product Data Classification challenge, which may
not be redistributed: no row and no image is in this release."""
_OWN_DATA = "The data is the operator's own: no row and no image is in this release."
_WEAK_DATA = """ Weak labels (on which independent
published systems agree) were used for training, never for the figures. The fusion's weights were
fitted mostly on weakly labelled held-out rows, its confidence on officially labelled ones."""
_CHALLENGE_LIMITS = (
    "* Four of five texts were French; other languages are worse, other scripts unknown.\n"
)

_CARD = """# Model card: {name}

Made {created} by `python -m trainer train`. Classifies a product (title, description, image)
into {classes} categories{whose}.

## Models

{models}

All probabilities are calibrated by a temperature on held-out rows. The table lists every candidate,
the chosen ones in bold. Validation rows decided: what was tuned on some of them was measured on the
others. Test rows only report. F1 has its 95 % interval; of two candidates whose difference is not
beyond chance the cheaper one is chosen.

{board}

## Figures on the held-out test rows

| | {columns} |
|---|{rule}
{table}

`f1_plain` is the weighted F1 with every row counted once; in `f1_official` each row counts by its
category's share in the Rakuten France challenge's training set, where that is known.
{final}{levels}
## Number formats

Each part ships in the smallest number format that answers as the fitted model on held-out rows.

{forms}

## Trained on

{trained_on}.

{data}

{labels}

## Time and energy of the training

{training}

## Categories

{categories}

## Settings

```
{settings}
```

## Limits

{limits}* A product outside the {classes} categories still gets one of them. `novelty` says how
  foreign its answer looks; `is_foreign` marks values that only 5 % of the categories' own products
  exceed. Products of a neighbouring kind are hardly recognised.
* The image model alone is weak; it helps when there is a text too.
* Few test rows have both a text and an image: the fusion's figures have a wide margin of error.

## Licences

Xception's weights: Keras Applications, MIT; EfficientNet-Lite0's: Apache 2.0 (both trained on
ImageNet). Subword vectors and the sentence encoder: Google's multilingual universal sentence
encoder, Apache 2.0. A transformer's weights: as its publisher states (multilingual-e5-small: MIT).
Code: this project's licence.
"""


def model_card(
    manifest: ReleaseManifest,
    board: Sequence[Entry],
    settings: dict[str, dict[str, Any]],
    *,
    has_weak_labels: bool,
    labels: Sequence[LabelShare],
    forms: str = "",
    training: str = "",
) -> str:
    """Return the model card: models, training data, figures and limits of a release.

    Args:
        manifest: Manifest of the release.
        board: All candidates of the run.
        settings: Settings by candidate name.
        has_weak_labels: True if some rows were labelled by other systems.
        labels: Rows that it learnt from, by the user who labelled them.
        forms: Markdown table of the number formats.
        training: Markdown about its time and energy.
    """
    names = [entry.name for entry in board if entry.is_chosen]
    is_challenge = {category.code for category in manifest.categories} == CHALLENGE
    data = _CHALLENGE_DATA if is_challenge else _OWN_DATA
    return _CARD.format(
        name=manifest.name,
        created=f"{manifest.created_at:%Y-%m-%d}",
        classes=len(manifest.categories),
        whose=" of the Rakuten France challenge" if is_challenge else "",
        data=data + (_WEAK_DATA if has_weak_labels else ""),
        labels=labels_as_markdown(labels),
        forms=forms or "Not compared.",
        training=training or "Not recorded.",
        limits=_CHALLENGE_LIMITS if is_challenge else "",
        models="\n".join(f"* `{name}`: {MODELS.get(name, 'see its module')}" for name in names),
        board=as_markdown(board),
        columns=" | ".join(COLUMNS),
        rule="---|" * len(COLUMNS),
        table="\n".join(_row(manifest.figures, prefix, label) for prefix, label in PARTS.items()),
        final=_final_fit(manifest.figures),
        levels=levels_as_markdown(manifest.figures),
        trained_on=manifest.trained_on,
        categories=categories_as_markdown(manifest.categories),
        settings=json.dumps(settings, indent=1),
    )


def _final_fit(figures: Mapping[str, float]) -> str:
    """Return a paragraph about the final fit; empty without one."""
    if not figures.get(FINAL_FIT_ROWS, 0.0):
        return ""
    if figures.get(FINAL_FIT_TEST_ROWS, 0.0):
        return """
The models that ship have learnt from the validation and the test rows too, once these had been
measured. All figures are those of the models before.
"""
    return """
The models that ship have learnt from the validation rows too, once these had chosen them. These
figures are theirs; the leaderboard has those of the models before.
"""


def levels_as_markdown(figures: Mapping[str, float]) -> str:
    """Return a Markdown section on F1 at each level of the tree; empty without a tree."""
    rows = {label: _levels(figures, prefix) for prefix, label in PARTS.items()}
    depth = max(map(len, rows.values()))
    if not depth:
        return ""
    heads = " | ".join(f"level {level}" for level in range(1, depth + 1))
    lines = [f"| | {heads} |", "|---|" + "---:|" * depth]
    lines += [f"| {label} | {' | '.join(cells)} |" for label, cells in rows.items() if cells]
    table = "\n".join(lines)
    return f"""
### F1 by level of the tree

Weighted F1 with its 95 % interval, from the roots to the leaves. An answer is right at a level if
its ancestor there is.

{table}
"""


def _levels(figures: Mapping[str, float], prefix: str) -> list[str]:
    cells: list[str] = []
    while (name := f"{prefix}_level{len(cells) + 1}") + "_f1" in figures:
        ends = (figures[f"{name}_{end}"] for end in ("f1", "low", "high"))
        cells.append(Interval(*ends).text())
    return cells


def categories_as_markdown(categories: Sequence[Category]) -> str:
    """Return a Markdown table of the codes and names of categories."""
    lines = ["| code | category |", "|---:|---|"]
    for category in categories[:LISTED_CATEGORIES]:
        name = category.name.replace("|", "\\|")
        lines.append(f"| {category.code} | {name} |")
    more = len(categories) - LISTED_CATEGORIES
    rest = f"\n\n{more} more are in `release.json`." if more > 0 else ""
    return "\n".join(lines) + rest


def training_as_markdown(steps: Sequence[Step], cores: int) -> str:
    """Return the time, memory and energy of a training as Markdown.

    The energy is an estimate by Lannelongue, Grealey and Inouye, "Green Algorithms" (2021):
    `time * (cores * power of a core + memory * power of memory)`, with all cores at work.

    Args:
        steps: Steps of the training, also those that were computed by an earlier run.
        cores: Number of cores of this machine.
    """
    seconds = sum(step.seconds for step in steps)
    gigabytes = max((step.peak_megabytes for step in steps), default=0.0) / 1024
    watts = cores * WATTS_PER_CORE + gigabytes * WATTS_PER_GIGABYTE
    longest = sorted(steps, key=lambda step: -step.seconds)[:LONGEST_STEPS]
    lines = ["| longest steps | minutes |", "|---|---:|"]
    lines += [f"| {step.name} | {step.seconds / 60:.1f} |" for step in longest]
    return (
        f"{seconds / 3600:.1f} hours on {cores} cores, {gigabytes:.1f} GB of memory at the peak. "
        f"Estimated energy: {watts * seconds / 3.6e6:.2f} kWh (Green Algorithms, "
        f"{WATTS_PER_CORE:.0f} W a core at full use). "
        "Steps that were interrupted count from their last start.\n\n" + "\n".join(lines)
    )


def labels_as_markdown(labels: Sequence[LabelShare]) -> str:
    """Return a Markdown table of the rows to learn from by the user who labelled them."""
    if not labels:
        return "No row was labelled by a user of this system: all come from files."
    lines = ["| labelled by | rows to learn from | share |", "|---|---:|---:|"]
    lines += [f"| {share.user} | {share.rows} | {share.share:.1%} |" for share in labels]
    rest = 1 - sum(share.share for share in labels)
    return "\n".join([*lines, f"| files | | {max(0.0, rest):.1%} |"])


def _row(figures: dict[str, float], prefix: str, label: str) -> str:
    cells = [_cell(figures.get(f"{prefix}_{column}")) for column in COLUMNS]
    return f"| {label} | {' | '.join(cells)} |"


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value == int(value) else f"{value:.4f}"
