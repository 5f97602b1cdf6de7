"""Export of the chosen models as a release folder: calibrated ONNX graphs, ready to serve."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper

from shared.categories import Category
from shared.errors import InvalidInput
from shared.inference.manifest import ImagePart, ReleaseManifest, TextPart
from shared.inference.preparation.image import IMAGE_PREPARATION
from shared.inference.preparation.text import (
    ENCODER_TOKENS,
    TEXT_PREPARATION,
    TOKENIZERS,
    TOKENS,
)
from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.onnx.branches import unless_empty
from trainer.candidates.onnx.graph import Graph, Storage
from trainer.candidates.protocols import TextReads
from trainer.pipeline.agreement import Form, HeldOut, write_agreeing
from trainer.release.image_features import extractor_id

Written = TypeVar("Written")

#: Folders of a release's models.
PARTS = ("text", "image", "fusion")
NGRAM_INPUTS = {
    "words": TensorProto.INT32,
    "word_counts": TensorProto.FLOAT,
    "characters": TensorProto.INT32,
    "character_counts": TensorProto.FLOAT,
}


class Part(Protocol):
    """One candidate within a model: `weight · log softmax(logits / temperature) + bias`."""

    @property
    def candidate(self) -> Any:
        """The fitted candidate."""

    @property
    def folder(self) -> Path:
        """Folder of the fit."""

    @property
    def temperature(self) -> float:
        """Divisor of its logits."""

    @property
    def weight(self) -> float | tuple[float, ...]:
        """Weight of its log-probabilities; one number, or one for each category."""

    @property
    def bias(self) -> tuple[float, ...]:
        """Bias of each category; empty if there is none."""

    @property
    def alone_at(self) -> float:
        """Confidence from which the part answers alone; 0 if the others are always asked."""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ratios by which the model's probabilities are multiplied; empty if there are none."""


@dataclass(frozen=True)
class ReleaseContents:
    """Models and description of a release.

    Attributes:
        text: Parts of the text model; empty if there is none.
        image: Parts of the image model; empty if there is none.
        fusion: Combines both modalities; `None` for a release of one modality.
        trained_on: Sentence about the training data.
    """

    name: str
    categories: tuple[Category, ...]
    text: Sequence[Part]
    image: Sequence[Part]
    fusion: FusionModel | None
    trained_on: str


def export_release(
    contents: ReleaseContents,
    folder: Path,
    storage: Storage,
    held: Mapping[str, HeldOut],
    log_line: Callable[[str], None],
) -> list[Form]:
    """Write a release folder, without figures; each part in a form that agrees with the fitted one.

    Args:
        contents: The fitted models.
        folder: Folder to write; replaced if it exists.
        storage: Number format of the weights to try first.
        held: Held-out rows by part, `text`, `image` and `fusion`.
        log_line: Called with the comparison of each form.

    Returns:
        The form of each part that was compared.
    """
    # An interrupted run may have left half a folder.
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        (folder / part).mkdir(parents=True)
    forms: list[Form] = []

    def written(part: str, write: Callable[[Storage], Written], first: Storage) -> Written:
        result, form = write_agreeing(part, folder, first, write, held.get(part), log_line)
        forms.extend([form] if form else [])
        return result

    text = image = None
    if contents.text:
        text = written("text", lambda s: export_text(contents.text, folder / "text", s), storage)
    if contents.image:
        image = written(
            "image", lambda s: export_image(contents.image, folder / "image", s), storage
        )
    if contents.fusion:
        fusion = contents.fusion
        written("fusion", lambda _: fusion.save(folder / "fusion"), "float32")
    manifest = ReleaseManifest(
        name=contents.name,
        created_at=datetime.now(UTC),
        categories=contents.categories,
        text=text,
        image=image,
        trained_on=contents.trained_on,
    )
    manifest.write(folder)
    return forms


def export_text(parts: Sequence[Part], folder: Path, storage: Storage) -> TextPart:
    """Write `model.onnx` and its tokenizer; return its entry in the manifest.

    Raises:
        InvalidInput: The candidates of the model read different inputs.
    """
    reads = _common([part.candidate.reads(part.folder) for part in parts])
    graph = Graph(storage)
    tokenizers = {TOKENS: reads.tokenizer, ENCODER_TOKENS: reads.encoder_tokenizer}
    inputs = {name: TensorProto.INT32 for name, path in tokenizers.items() if path}
    if reads.ngrams is not None:
        inputs |= NGRAM_INPUTS
    probabilities = answer_of(graph, parts, tuple(inputs))
    model = graph.model(
        [
            helper.make_tensor_value_info(name, kind, ["batch", name])
            for name, kind in inputs.items()
        ],
        [_output(probabilities)],
    )
    onnx.save(model, folder / "model.onnx")
    for name, path in tokenizers.items():
        if path is not None:
            shutil.copyfile(path, folder / TOKENIZERS[name])
    return TextPart(
        preparation=TEXT_PREPARATION,
        max_tokens=reads.max_tokens,
        encoder_tokens=reads.encoder_tokens,
        ngrams=reads.ngrams,
    )


def export_image(parts: Sequence[Part], folder: Path, storage: Storage) -> ImagePart:
    """Write `backbone.onnx` and `head.onnx`; return their entry in the manifest."""
    (part,) = parts
    shutil.copyfile(part.folder / "backbone.onnx", folder / "backbone.onnx")
    onnx.save(export_head(parts, storage), folder / "head.onnx")
    return ImagePart(
        preparation=IMAGE_PREPARATION,
        size=part.candidate.size,
        extractor=extractor_id(part.candidate.network, folder / "backbone.onnx"),
        features=features_of(folder / "backbone.onnx"),
    )


def export_head(parts: Sequence[Part], storage: Storage) -> onnx.ModelProto:
    """Return the graph from `features` to `probabilities`."""
    (part,) = parts
    graph = Graph(storage)
    width = features_of(part.folder / "backbone.onnx")
    return graph.model(
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width])],
        [_output(answer_of(graph, parts, ("features",)))],
    )


def features_of(backbone: Path) -> int:
    """Return the length of the features that a backbone computes."""
    output = onnx.load(backbone, load_external_data=False).graph.output[0]
    return int(output.type.tensor_type.shape.dim[-1].dim_value)


def answer_of(graph: Graph, parts: Sequence[Part], inputs: Sequence[str]) -> str:
    """Add the parts' pool, or their cascade, and return its probabilities.

    Args:
        graph: Graph to add to.
        parts: Parts of the model.
        inputs: Names of the inputs that the parts read, each with a row for each product.
    """
    first = next((part for part in parts if part.alone_at), None)
    answer = _cascade(graph, first, parts, inputs) if first else _pool(graph, parts, {})
    ratios = next((part.ratios for part in parts if part.ratios), None)
    if ratios:
        products = graph.add("Mul", answer, graph.constant(np.array([ratios], np.float32)))
        total = graph.add("ReduceSum", products, graph.constant(np.array([1], np.int64)))
        answer = graph.add("Div", products, total)
    return graph.add("Identity", answer, name="probabilities")


def _cascade(graph: Graph, first: Part, parts: Sequence[Part], inputs: Sequence[str]) -> str:
    """Add a part that answers alone where it is confident; elsewhere the pool of all answers."""
    log_probabilities = _log_probabilities(graph, first)
    alone = graph.add("Exp", log_probabilities)
    confidence = graph.add("ReduceMax", alone, axes=[1], keepdims=0)
    is_unsure = graph.add("Less", confidence, graph.constant(np.array(first.alone_at, np.float32)))
    places = graph.add("Transpose", graph.add("NonZero", is_unsure), perm=[1, 0])
    rows = graph.add("Squeeze", places, graph.constant(np.array([1], np.int64)))
    names = (*inputs, log_probabilities)

    def pooled() -> str:
        unsure = {name: graph.add("Gather", name, rows, axis=0) for name in names}
        with graph.reading({name: unsure[name] for name in inputs}):
            answers = _pool(graph, parts, {id(first): unsure[log_probabilities]})
        return graph.add("ScatterND", alone, places, answers)

    return unless_empty(graph, rows, pooled, otherwise=alone)


def _pool(graph: Graph, parts: Sequence[Part], known: Mapping[int, str]) -> str:
    """Add the softmax of the parts' weighted log-probabilities.

    Args:
        graph: Graph to add to.
        parts: Parts of the pool.
        known: Log-probabilities that the graph has already, by the identity of the part.
    """
    weighted = []
    for part in parts:
        log_probabilities = known.get(id(part)) or _log_probabilities(graph, part)
        weight = graph.constant(np.array(part.weight, np.float32))
        weighted.append(graph.add("Mul", log_probabilities, weight))
        if part.bias:
            weighted.append(graph.constant(np.array([part.bias], np.float32)))
    return graph.add("Softmax", graph.add("Sum", *weighted), axis=1)


def _log_probabilities(graph: Graph, part: Part) -> str:
    logits = part.candidate.export(graph, part.folder)
    scaled = graph.add("Div", logits, graph.constant(np.array(part.temperature, np.float32)))
    return graph.add("LogSoftmax", scaled, axis=1)


def _common(reads: Sequence[TextReads]) -> TextReads:
    tokenizers = [one.tokenizer for one in reads if one.tokenizer is not None]
    if len({path.read_bytes() for path in tokenizers}) > 1:
        raise InvalidInput(
            "Expected candidates that share their subwords. Received: different ones"
        )
    lengths = {one.max_tokens for one in reads} - {None}
    forms = [one.ngrams for one in reads if one.ngrams is not None]
    if len(lengths) > 1 or any(form != forms[0] for form in forms):
        raise InvalidInput(
            "Expected candidates that read the same length and n-grams. "
            f"Received: {sorted(filter(None, lengths))} tokens, {len(forms)} forms of n-grams"
        )
    encoder = next((one for one in reads if one.encoder_tokenizer is not None), TextReads())
    return TextReads(
        tokenizer=tokenizers[0] if tokenizers else None,
        max_tokens=next(iter(lengths), None),
        ngrams=forms[0] if forms else None,
        encoder_tokenizer=encoder.encoder_tokenizer,
        encoder_tokens=encoder.encoder_tokens,
    )


def _output(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "classes"])
