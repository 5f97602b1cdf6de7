"""The recurrent network on subwords: bidirectional GRU, attention and max pooling.

Attention pooling follows Yang et al., "Hierarchical Attention Networks for Document
Classification" (2016), section 2.2. Members with other seeds are averaged.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from shared.inference.text import PADDING, UNKNOWN, TextEncoder

Floats = NDArray[np.float32]
#: Stands in for minus infinity where a text has ended.
FAR_BELOW = -1e9


@dataclass(frozen=True)
class TextSettings:
    """Everything that was chosen for the recurrent network, on validation rows."""

    vocabulary: int = 30_000
    max_tokens: int = 96
    embedding: int = 256
    units: int = 128
    attention: int = 64
    spatial_dropout: float = 0.5
    token_dropout: float = 0.4
    dropout: float = 0.5
    label_smoothing: float = 0.1
    weak_weight: float = 0.7
    epochs: int = 9
    batch: int = 64
    learning_rate: float = 2e-3
    members: int = 2


def fit_tokenizer(texts: Sequence[str], settings: TextSettings) -> Tokenizer:
    """Learn subwords (unigram language model, Kudo 2018) from prepared texts."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=["<pad>", "<unk>"],
        unk_token="<unk>",  # noqa: S106  not a password
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def build_network(vocabulary: int, classes: int, settings: TextSettings) -> keras.Model:
    """Build one member: tokens `(batch, length)` int32 in, logits `(batch, classes)` out."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    is_token = ops.not_equal(tokens, PADDING)
    weight = ops.expand_dims(ops.cast(is_token, "float32"), -1)
    embedded = layers.Embedding(
        vocabulary,
        settings.embedding,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=0.05),
        name="embedding",
    )(tokens)
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


def fit_member(
    tokens: Sequence[Sequence[int]],
    targets: NDArray[np.int64],
    weights: Floats,
    *,
    vocabulary: int,
    classes: int,
    settings: TextSettings,
    seed: int,
    tell: Callable[[str], None],
) -> keras.Model:
    """Fit one member.

    Args:
        tokens: One list of token numbers a text.
        targets: Column numbers, shape `(texts,)`.
        weights: How much each text counts, shape `(texts,)`.
        vocabulary: Number of different tokens.
        classes: Number of categories.
        settings: How to build and fit.
        seed: Decides the first weights, the order of the batches, and what is dropped.
        tell: Called with a line after each epoch.
    """
    keras.utils.set_random_seed(seed)
    network = build_network(vocabulary, classes, settings)
    steps = -(-len(tokens) // settings.batch) * settings.epochs
    warmup = steps // 20
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            0.0,
            max(1, steps - warmup),
            warmup_target=settings.learning_rate,
            warmup_steps=warmup,
        ),
        clipnorm=1.0,
    )
    step = _step(network, optimizer, classes, settings)
    for epoch in range(settings.epochs):
        losses = [
            float(step(*batch))
            for batch in _batches(tokens, targets, weights, settings, seed * 1000 + epoch)
        ]
        tell(
            f"text, seed {seed}: epoch {epoch + 1} of {settings.epochs}, loss {np.mean(losses):.3f}"
        )
    return network


def predict_logits(network: keras.Model, encoder: TextEncoder, texts: Sequence[str]) -> Floats:
    """Predict, shape `(texts, classes)`; texts of like length go together."""
    forward = tf.function(
        lambda tokens: network(tokens, training=False),
        input_signature=[tf.TensorSpec((None, None), tf.int32)],
    )
    order = np.argsort([len(text) for text in texts], kind="stable")
    logits = np.zeros((len(texts), network.output_shape[-1]), np.float32)
    for start in range(0, len(texts), 256):
        chosen = order[start : start + 256]
        logits[chosen] = forward(encoder.encode([texts[i] for i in chosen])).numpy()
    return logits


def _step(
    network: keras.Model, optimizer: keras.Optimizer, classes: int, settings: TextSettings
) -> tf.types.experimental.GenericFunction:
    measure = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=settings.label_smoothing, reduction="none"
    )
    optimizer.build(network.trainable_variables)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None,), tf.float32),
        ]
    )
    def step(tokens: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = measure(tf.one_hot(targets, classes), network(tokens, training=True))
            loss = tf.reduce_mean(losses * weights)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return step


def _batches(
    tokens: Sequence[Sequence[int]],
    targets: NDArray[np.int64],
    weights: Floats,
    settings: TextSettings,
    seed: int,
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64], Floats]]:
    generator = np.random.default_rng(seed)
    lengths = np.array([len(row) for row in tokens])
    # Texts of like length share a batch, so little of it is padding; the order still varies.
    order = np.argsort(lengths + generator.random(len(lengths)) * 12, kind="stable")
    batches = [order[i : i + settings.batch] for i in range(0, len(order), settings.batch)]
    generator.shuffle(batches)
    for chosen in batches:
        padded = np.full((len(chosen), max(1, lengths[chosen].max())), PADDING, np.int32)
        for row, index in enumerate(chosen):
            padded[row, : lengths[index]] = tokens[index]
        forgotten = (generator.random(padded.shape) < settings.token_dropout) & (padded != PADDING)
        padded[forgotten] = UNKNOWN
        yield padded, targets[chosen], weights[chosen]
