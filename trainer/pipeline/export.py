"""Writes the chosen models as the ONNX graphs of a release, calibrated and ready to serve."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper

from shared.errors import InvalidInput
from shared.inference.manifest import ImagePart, TextPart
from shared.inference.preparation.image import IMAGE_PREPARATION
from shared.inference.preparation.text import TEXT_PREPARATION
from trainer.candidates.onnx.graph import Graph, Storage
from trainer.candidates.protocols import TextReads
from trainer.candidates.text.subwords import TOKENIZER
from trainer.release.image_features import extractor_id

NGRAM_INPUTS = {
    "words": TensorProto.INT32,
    "word_counts": TensorProto.FLOAT,
    "characters": TensorProto.INT32,
    "character_counts": TensorProto.FLOAT,
}


class Part(Protocol):
    """One candidate within a model: `weight · log softmax(logits / temperature)`."""

    @property
    def candidate(self) -> Any:
        """What was fitted."""

    @property
    def folder(self) -> Path:
        """Where it keeps what it learned."""

    @property
    def temperature(self) -> float:
        """Divides its logits."""

    @property
    def weight(self) -> float:
        """How much it counts."""


def export_text(parts: Sequence[Part], folder: Path, storage: Storage) -> TextPart:
    """Write `model.onnx` and what it reads; returns what the release says of it.

    Raises:
        InvalidInput: Candidates that stand together read different subwords.
    """
    reads = _common([part.candidate.reads(part.folder) for part in parts])
    graph = Graph(storage)
    probabilities = _pool(graph, parts)
    inputs = {"tokens": TensorProto.INT32} if reads.tokenizer else {}
    if reads.ngrams is not None:
        inputs |= NGRAM_INPUTS
    model = graph.model(
        [
            helper.make_tensor_value_info(name, kind, ["batch", name])
            for name, kind in inputs.items()
        ],
        [_output(probabilities)],
    )
    onnx.save(model, folder / "model.onnx")
    if reads.tokenizer is not None:
        shutil.copyfile(reads.tokenizer, folder / TOKENIZER)
    return TextPart(preparation=TEXT_PREPARATION, max_tokens=reads.max_tokens, ngrams=reads.ngrams)


def export_image(parts: Sequence[Part], folder: Path, storage: Storage) -> ImagePart:
    """Write `backbone.onnx` and `head.onnx`; returns what the release says of them."""
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
    """The graph from `features` to `probabilities`."""
    (part,) = parts
    graph = Graph(storage)
    width = features_of(part.folder / "backbone.onnx")
    return graph.model(
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width])],
        [_output(_pool(graph, parts))],
    )


def features_of(backbone: Path) -> int:
    """Length of the features that a backbone gives."""
    output = onnx.load(backbone, load_external_data=False).graph.output[0]
    return int(output.type.tensor_type.shape.dim[-1].dim_value)


def _pool(graph: Graph, parts: Sequence[Part]) -> str:
    """Add the parts' weighted log-probabilities, and their softmax named `probabilities`."""
    weighted = []
    for part in parts:
        logits = part.candidate.export(graph, part.folder)
        cooled = graph.add("Div", logits, graph.constant(np.array(part.temperature, np.float32)))
        logs = graph.add("LogSoftmax", cooled, axis=1)
        weighted.append(graph.add("Mul", logs, graph.constant(np.array(part.weight, np.float32))))
    return graph.add("Softmax", graph.add("Sum", *weighted), axis=1, name="probabilities")


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
    return TextReads(
        tokenizer=tokenizers[0] if tokenizers else None,
        max_tokens=next(iter(lengths), None),
        ngrams=forms[0] if forms else None,
    )


def _output(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "classes"])
