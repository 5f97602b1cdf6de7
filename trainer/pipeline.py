"""From data to a release: the story on one page.

read ─ fit, calibrate, export text ─ features ─ fit, calibrate, export picture ─ fit fusion ─
measure the folder as it will serve ─ describe
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared.inference.fusion import FusionModel
from shared.inference.image import IMAGE_PREPARATION
from shared.inference.manifest import ImagePart, ReleaseManifest, TextPart
from shared.inference.text import TEXT_PREPARATION, UNKNOWN, TextEncoder, product_text
from trainer.card import model_card
from trainer.datasets import Dataset, load
from trainer.evaluate import evaluate_release
from trainer.export import export_backbone, export_image, export_text
from trainer.features import FeatureStore, extract_features, extractor_id
from trainer.graph import Storage
from trainer.models import image_xception, text_rnn
from trainer.models.fusion_stack import fit_fusion, fit_temperature, softmax
from trainer.models.image_xception import ImageSettings
from trainer.models.text_rnn import TextSettings

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """What to train, from what, and where to work.

    Attributes:
        data: Folder in the challenge's layout.
        work: Features, Keras models and other things worth keeping between runs.
        weights: ImageNet weights of Xception; `None` fetches Keras's own.
        storage: How weights are kept in the release.
        tell: Called with a line for each step.
    """

    data: Path
    work: Path
    weights: Path | None = None
    name: str = "rayon"
    seed: int = 0
    storage: Storage = "int8"
    text: TextSettings = field(default_factory=TextSettings)
    image: ImageSettings = field(default_factory=ImageSettings)
    tell: Callable[[str], None] = print


def train(plan: Plan, out: Path) -> ReleaseManifest:
    """Train, export and measure a release; `out` becomes its folder.

    Raises:
        InvalidInput: The data is not in the challenge's layout.
    """
    data = load(plan.data, seed=plan.seed)
    plan.tell(f"read {len(data.rows)} products: {data.rows['part'].value_counts().to_dict()}")
    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    for part in ("text", "image", "fusion"):
        (aside / part).mkdir(parents=True)
    text = _train_text(plan, data, aside)
    image = _train_image(plan, data, aside)
    fusion = _fit_fusion(data, text, image)
    plan.tell(f"fusion: text {fusion.text_weights[0]:.3f}, picture {fusion.image_weights[0]:.3f}")
    fusion.save(aside / "fusion")
    manifest = _describe(plan, data, aside)
    shutil.rmtree(out, ignore_errors=True)
    aside.rename(out)
    return manifest


def _train_text(plan: Plan, data: Dataset, folder: Path) -> pd.DataFrame:
    """Fit and export the text model; returns probabilities of the held-out rows."""
    fitted = data.part("train", "weak", text=True)
    tokenizer = text_rnn.fit_tokenizer(_texts(fitted), plan.text)
    tokens = _token_lists(tokenizer, _texts(fitted), plan.text.max_tokens)
    tokenizer.save(str(folder / "text/tokenizer.json"))
    encoder = TextEncoder(tokenizer, plan.text.max_tokens)
    held = data.part("validation", "weak_held", text=True)
    members: list[keras.Model] = []
    logits = np.zeros((len(held), len(data.categories)), np.float32)
    for member in range(plan.text.members):
        network = _fit_text_member(plan, data, fitted, tokens, plan.seed + member, tokenizer)
        logits += text_rnn.predict_logits(network, encoder, _texts(held)) / plan.text.members
        members.append(network)
        network.save(plan.work / f"text_{member}.keras")
    temperature = _temperature(data, held, logits)
    plan.tell(f"text: temperature {temperature:.3f}")
    onnx.save(export_text(members, temperature, plan.storage), folder / "text/model.onnx")
    return pd.DataFrame(softmax(logits / temperature), index=held.index)


def _fit_text_member(
    plan: Plan,
    data: Dataset,
    rows: pd.DataFrame,
    tokens: list[list[int]],
    seed: int,
    tokenizer: Tokenizer,
) -> keras.Model:
    return text_rnn.fit_member(
        tokens,
        data.targets(rows),
        _row_weights(rows, plan.text.weak_weight),
        vocabulary=tokenizer.get_vocab_size(),
        classes=len(data.categories),
        settings=plan.text,
        seed=seed,
        tell=plan.tell,
    )


def _train_image(plan: Plan, data: Dataset, folder: Path) -> pd.DataFrame:
    """Fit and export the picture model; returns probabilities of the held-out rows."""
    backbone = plan.work / "backbone.onnx"
    export_backbone(image_xception.build_backbone(plan.weights), backbone)
    store = FeatureStore(plan.work / "features" / extractor_id("xception", backbone))
    rows = data.part("train", "weak", "validation", "weak_held", picture=True)
    extracted = extract_features(rows, backbone, store, size=image_xception.SIZE, tell=plan.tell)
    hashes = extracted.hashes
    rows = rows.loc[hashes.index]
    fitted, held = (
        rows[rows["part"].isin(names)] for names in (("train", "weak"), ("validation", "weak_held"))
    )
    head = image_xception.fit_head(
        store.of(hashes.loc[fitted.index].tolist()).astype(np.float32),
        data.targets(fitted),
        _row_weights(fitted, plan.image.weak_weight),
        classes=len(data.categories),
        settings=plan.image,
        seed=plan.seed,
    )
    head.save(plan.work / "image_head.keras")
    logits = image_xception.predict_logits(
        head, store.of(hashes.loc[held.index].tolist()).astype(np.float32)
    )
    temperature = _temperature(data, held, logits)
    plan.tell(f"picture: temperature {temperature:.3f}")
    model = export_image(onnx.load(backbone), head, temperature, plan.storage)
    onnx.save(model, folder / "image/model.onnx")
    return pd.DataFrame(softmax(logits / temperature), index=held.index)


def _fit_fusion(data: Dataset, text: pd.DataFrame, image: pd.DataFrame) -> FusionModel:
    both = data.part("validation", "weak_held", text=True, picture=True)
    both = both.loc[both.index.intersection(image.index)]
    return fit_fusion(
        text.loc[both.index].to_numpy(np.float32),
        image.loc[both.index].to_numpy(np.float32),
        data.targets(both),
        (both["part"] == "validation").to_numpy(),
    )


def _describe(plan: Plan, data: Dataset, folder: Path) -> ReleaseManifest:
    manifest = ReleaseManifest(
        name=plan.name,
        created_at=datetime.now(UTC),
        categories=data.categories.categories,
        text=TextPart(preparation=TEXT_PREPARATION, max_tokens=plan.text.max_tokens),
        image=ImagePart(preparation=IMAGE_PREPARATION, size=image_xception.SIZE),
        trained_on=f"{len(data.part('train'))} labelled and {len(data.part('weak'))} weakly "
        f"labelled products; data {data.fingerprint[:12]}, seed {plan.seed}",
    )
    # Measured on the folder as it will serve, so it must hold a manifest first.
    manifest.write(folder)
    found = evaluate_release(folder, data)
    figures = {name: value for part, f in found.items() for name, value in f.named(part).items()}
    manifest = manifest.model_copy(update={"figures": figures})
    manifest.write(folder)
    (folder / "MODEL_CARD.md").write_text(model_card(manifest, plan.text, plan.image), "utf-8")
    return manifest


def _temperature(data: Dataset, held: pd.DataFrame, logits: Floats) -> float:
    # Weak rows are easier than real ones: a label exists only where other systems agree. Only
    # officially labelled rows say how sure one may be.
    official = (held["part"] == "validation").to_numpy()
    return fit_temperature(logits[official], data.targets(held)[official])


def _texts(rows: pd.DataFrame) -> list[str]:
    pairs = zip(rows["designation"], rows["description"], strict=True)
    return [product_text(title, body) for title, body in pairs]


def _token_lists(tokenizer: Tokenizer, texts: list[str], max_tokens: int) -> list[list[int]]:
    rows = tokenizer.encode_batch_fast(texts)
    return [row.ids[:max_tokens] or [UNKNOWN] for row in rows]


def _row_weights(rows: pd.DataFrame, weak_weight: float) -> Floats:
    return np.where(rows["part"] == "weak", weak_weight, 1.0).astype(np.float32)
