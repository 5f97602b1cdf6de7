"""The recurrent network: pretrained subword vectors, bidirectional GRU, attention and max pooling.

Attention pooling follows Yang et al., "Hierarchical Attention Networks for Document
Classification" (2016), section 2.2. The logits of members with different seeds are averaged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray
from onnx import TensorProto

from shared.inference.preparation.text import PADDING, UNKNOWN
from trainer.candidates.onnx.graph import Graph
from trainer.candidates.protocols import FitContext, Floats, Labels, SelfContained, TextReads
from trainer.candidates.text.subwords import (
    TOKENIZER,
    VECTORS,
    learn_subwords,
    padded,
    reduced,
    tokens_of,
)

Tokens = NDArray[np.int32]

#: Replaces minus infinity at padded positions.
FAR_BELOW = -1e9
#: Number of texts scored in one call.
PREDICT_BATCH = 256


@dataclass(frozen=True)
class RnnSettings:
    """Hyperparameters, chosen on validation rows.

    Attributes:
        soft_share: Share of a teacher's probabilities in what is learnt, beside the label (Hinton,
            Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015).
    """

    max_tokens: int = 96
    embedding: int = 256
    embedding_spread: float = 0.3
    units: int = 128
    attention: int = 64
    spatial_dropout: float = 0.3
    token_dropout: float = 0.3
    dropout: float = 0.5
    label_smoothing: float = 0.1
    soft_share: float = 0.7
    epochs: int = 7
    batch: int = 64
    learning_rate: float = 2e-3
    members: int = 2


@dataclass(frozen=True)
class TextRnn(SelfContained):
    """Recurrent candidate; see the module."""

    settings: RnnSettings = field(default_factory=RnnSettings)
    name: str = "text_rnn"

    def prepare(self, texts: Sequence[str], folder: Path, context: FitContext) -> None:
        """Select the subwords."""
        learn_subwords(texts, folder)

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        folder: Path,
        prepared: Path,
        context: FitContext,
    ) -> None:
        """Fit the members that the folder does not contain yet."""
        (folder / TOKENIZER).write_bytes((prepared / TOKENIZER).read_bytes())
        tokens = tokens_of(texts, folder, self.settings.max_tokens)
        vectors = reduced(
            np.load(prepared / VECTORS), self.settings.embedding, self.settings.embedding_spread
        )
        for number in range(self.settings.members):
            path = folder / f"member_{number}.keras"
            if not path.exists():
                network = self._fit_member(tokens, labels, vectors, number, context)
                network.save(path)

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        """Return the mean of the members' logits, shape `(len(texts), classes)`."""
        tokens = tokens_of(texts, folder, self.settings.max_tokens)
        members = [_logits(network, tokens) for network in self.members(folder)]
        mean: Floats = np.mean(members, axis=0)
        return mean

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the members with ONNX's own `GRU`; an exported Keras layer would be a slow loop."""
        members = self.members(folder)
        tokens = graph.shared(
            "tokens by time", lambda: graph.add("Transpose", "tokens", perm=[1, 0])
        )
        mask = _Mask.of(graph, tokens)
        logits = [_member(graph, network, tokens, mask) for network in members]
        number = graph.constant(np.array(len(members), np.float32))
        return graph.add("Div", graph.add("Sum", *logits), number)

    def reads(self, folder: Path) -> TextReads:
        """Return the tokenizer and the length."""
        return TextReads(tokenizer=folder / TOKENIZER, max_tokens=self.settings.max_tokens)

    def members(self, folder: Path) -> list[keras.Model]:
        """Load the fitted networks, from tokens `(batch, length)` to logits `(batch, classes)`."""
        return [keras.models.load_model(path) for path in sorted(folder.glob("member_*.keras"))]

    def _fit_member(
        self,
        tokens: Sequence[Tokens],
        labels: Labels,
        vectors: Floats,
        number: int,
        context: FitContext,
    ) -> keras.Model:
        seed = context.seed + number
        keras.utils.set_random_seed(seed)
        network = build_network(vectors, labels.classes, self.settings)
        steps = -(-len(tokens) // self.settings.batch) * self.settings.epochs
        warmup = steps // 20
        optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(
                0.0,
                max(1, steps - warmup),
                warmup_target=self.settings.learning_rate,
                warmup_steps=warmup,
            ),
            clipnorm=1.0,
        )
        step = _step(network, optimizer, labels.classes, self.settings)
        for epoch in range(self.settings.epochs):
            losses = [
                float(step(*batch))
                for batch in _batches(tokens, labels, self.settings, seed * 1000 + epoch)
            ]
            loss = float(np.mean(losses))
            context.curve(f"{self.name}_{number}_loss", epoch + 1, loss)
            context.log_line(
                f"{self.name}, member {number}: epoch {epoch + 1} of {self.settings.epochs}, "
                f"loss {loss:.3f}"
            )
        return network


def build_network(vectors: Floats, classes: int, settings: RnnSettings) -> keras.Model:
    """Build one member, from int32 tokens `(batch, length)` to logits `(batch, classes)`.

    Args:
        vectors: Initial embeddings, shape `(pieces, size)`.
        classes: Number of categories.
        settings: Hyperparameters.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    is_token = ops.not_equal(tokens, PADDING)
    weight = ops.expand_dims(ops.cast(is_token, "float32"), -1)
    table = layers.Embedding(*vectors.shape, name="embedding")
    embedded = table(tokens)
    table.set_weights([vectors])
    dropped = layers.SpatialDropout1D(settings.spatial_dropout)(embedded)
    states = layers.Bidirectional(
        layers.GRU(settings.units, return_sequences=True), name="recurrent"
    )(dropped, mask=is_token)
    hidden = layers.Dense(settings.attention, activation="tanh", name="attention_hidden")(states)
    relevance = layers.Dense(1, name="attention_score")(hidden) + FAR_BELOW * (1 - weight)
    attended = ops.sum(ops.softmax(relevance, axis=1) * states, axis=1)
    largest = ops.max(states + FAR_BELOW * (1 - weight), axis=1)
    mean = ops.sum(embedded * weight, axis=1) / ops.maximum(ops.sum(weight, axis=1), 1.0)
    joined = layers.Dropout(settings.dropout)(layers.Concatenate()([attended, largest, mean]))
    return keras.Model(tokens, layers.Dense(classes, name="logits")(joined))


def _logits(network: keras.Model, tokens: Sequence[Tokens]) -> Floats:
    forward = tf.function(
        lambda batch: network(batch, training=False),
        input_signature=[tf.TensorSpec((None, None), tf.int32)],
    )
    # Texts of similar length share a batch, which keeps padding low.
    order = np.argsort([len(row) for row in tokens], kind="stable")
    logits = np.zeros((len(tokens), network.output_shape[-1]), np.float32)
    for start in range(0, len(tokens), PREDICT_BATCH):
        chosen = order[start : start + PREDICT_BATCH]
        logits[chosen] = forward(padded([tokens[i] for i in chosen])).numpy()
    return logits


def _step(
    network: keras.Model, optimizer: keras.Optimizer, classes: int, settings: RnnSettings
) -> tf.types.experimental.GenericFunction:
    measure = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=settings.label_smoothing, reduction="none"
    )
    optimizer.build(network.trainable_variables)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, classes), tf.float32),
            tf.TensorSpec((None,), tf.float32),
        ]
    )
    def step(tokens: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = measure(targets, network(tokens, training=True))
            loss = tf.reduce_mean(losses * weights)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return step


def _batches(
    tokens: Sequence[Tokens], labels: Labels, settings: RnnSettings, seed: int
) -> Iterator[tuple[Tokens, Floats, Floats]]:
    generator = np.random.default_rng(seed)
    lengths = np.array([len(row) for row in tokens])
    # Texts of similar length share a batch; the order still varies between epochs.
    order = np.argsort(lengths + generator.random(len(lengths)) * 12, kind="stable")
    batches = [order[i : i + settings.batch] for i in range(0, len(order), settings.batch)]
    generator.shuffle(batches)
    for chosen in batches:
        rows = padded([tokens[i] for i in chosen])
        dropped = (generator.random(rows.shape) < settings.token_dropout) & (rows != PADDING)
        rows[dropped] = UNKNOWN
        yield rows, labels.distributions(chosen, settings.soft_share), labels.weights[chosen]


@dataclass(frozen=True)
class _Mask:
    """Token mask `(length, batch, 1)` and text lengths `(batch,)`, as values of the graph."""

    weight: str
    lengths: str

    @classmethod
    def of(cls, graph: Graph, tokens: str) -> "_Mask":
        padding = graph.constant(np.array(PADDING, np.int32))
        is_token = graph.add(
            "Cast", graph.add("Not", graph.add("Equal", tokens, padding)), to=TensorProto.FLOAT
        )
        last = graph.constant(np.array([2], np.int64))
        return cls(graph.add("Unsqueeze", is_token, last), _sum(graph, is_token))


def _member(graph: Graph, network: keras.Model, tokens: str, mask: _Mask) -> str:
    embedded = graph.rows(network.get_layer("embedding").get_weights()[0], tokens)
    states = _recurrent(graph, network.get_layer("recurrent"), embedded, mask.lengths)
    hidden = graph.dense(states, *network.get_layer("attention_hidden").get_weights())
    one = graph.constant(np.array(1.0, np.float32))
    ended = graph.add(
        "Mul", graph.add("Sub", one, mask.weight), graph.constant(np.array(FAR_BELOW, np.float32))
    )
    score = graph.dense(
        graph.add("Tanh", hidden), *network.get_layer("attention_score").get_weights()
    )
    share = graph.add("Softmax", graph.add("Add", score, ended), axis=0)
    attended = _sum(graph, graph.add("Mul", share, states))
    largest = graph.add("ReduceMax", graph.add("Add", states, ended), axes=[0], keepdims=0)
    mean = graph.add(
        "Div",
        _sum(graph, graph.add("Mul", embedded, mask.weight)),
        graph.add("Max", _sum(graph, mask.weight), one),
    )
    joined = graph.add("Concat", attended, largest, mean, axis=1)
    return graph.dense(joined, *network.get_layer("logits").get_weights())


def _recurrent(graph: Graph, layer: keras.layers.Bidirectional, value: str, lengths: str) -> str:
    """Add both directions; Keras and ONNX order the gates alike: update, reset, new."""
    kernels, recurrents, biases = [], [], []
    for direction in (layer.forward_layer, layer.backward_layer):
        kernel, recurrent, bias = direction.get_weights()
        kernels.append(kernel.T)
        recurrents.append(recurrent.T)
        biases.append(bias.reshape(-1))
    units = layer.forward_layer.units
    states = graph.add(
        "GRU",
        value,
        graph.weight(np.stack(kernels), (0, 1)),
        graph.weight(np.stack(recurrents), (0, 1)),
        graph.constant(np.stack(biases).astype(np.float32)),
        graph.add("Cast", lengths, to=TensorProto.INT32),
        direction="bidirectional",
        hidden_size=units,
        linear_before_reset=1,  # as Keras's `reset_after`
    )
    beside = graph.add("Transpose", states, perm=[0, 2, 1, 3])
    return graph.add("Reshape", beside, graph.constant(np.array([0, 0, 2 * units], np.int64)))


def _sum(graph: Graph, value: str) -> str:
    return graph.add("ReduceSum", value, graph.constant(np.array([0], np.int64)), keepdims=0)
