"""The model card of a release, in Markdown."""

from shared.inference.manifest import ReleaseManifest
from trainer.models.image_xception import ImageSettings
from trainer.models.text_rnn import TextSettings

#: Rows of the table of figures: prefix in the manifest, and what it is called.
PARTS = {
    "text": "text",
    "image": "picture",
    "fusion": "fusion (rows with both)",
    "text_both": "text, on the fusion's rows",
    "image_both": "picture, on the fusion's rows",
}
COLUMNS = ("rows", "f1_plain", "f1_official", "calibration_error", "log_loss")

_CARD = """# Model card: {name}

Made {created} by `python -m trainer train`. Classifies a product (title, description, picture)
into {classes} categories of the Rakuten France challenge.

## Models

* **Text**: subwords (unigram, {text.vocabulary}), bidirectional GRU ({text.units} units each way),
  attention, max and mean pooling; {text.members} networks averaged. Reads the first
  {text.max_tokens} tokens.
* **Picture**: Xception with ImageNet weights, frozen; a fitted head on its 2,048 features
  ({image.hidden} hidden units). 299 x 299 pixels.
* **Fusion**: weighted sum of both models' calibrated log-probabilities.

All probabilities are calibrated by a temperature on held-out rows.

## Figures on the held-out test rows

| | {columns} |
|---|{rule}
{table}

`f1_plain` is the weighted F1 with every row counted once; in `f1_official` each row counts by its
category's share in the challenge's training set.

## Trained on

{trained_on}.

The data is that of the Rakuten France Multimodal Product Data Classification challenge, which may
not be redistributed: no row and no picture is in this release. Weak labels (on which independent
published systems agree) were trained on, never measured on. The fusion's weights were fitted mostly
on weakly labelled held-out rows, its confidence on officially labelled ones.

## Limits

* Four of five texts were French; other languages are worse, other scripts unknown.
* A product outside the {classes} categories gets one of them all the same.
* The picture model alone is weak; it helps beside a text.
* Test rows with both a text and a picture are few: read the fusion's figure with its error.

## Licences

Xception's weights: Keras Applications, MIT (trained on ImageNet). Code: this project's licence.
"""


def model_card(manifest: ReleaseManifest, text: TextSettings, image: ImageSettings) -> str:
    """Write what a release is, what it was trained on, how good it is, and its limits."""
    return _CARD.format(
        name=manifest.name,
        created=f"{manifest.created_at:%Y-%m-%d}",
        classes=len(manifest.categories),
        text=text,
        image=image,
        columns=" | ".join(COLUMNS),
        rule="---|" * len(COLUMNS),
        table="\n".join(_row(manifest.figures, prefix, label) for prefix, label in PARTS.items()),
        trained_on=manifest.trained_on,
    )


def _row(figures: dict[str, float], prefix: str, label: str) -> str:
    cells = [_cell(figures.get(f"{prefix}_{column}")) for column in COLUMNS]
    return f"| {label} | {' | '.join(cells)} |"


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value == int(value) else f"{value:.4f}"
