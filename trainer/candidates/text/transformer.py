"""A pretrained transformer encoder, fine-tuned: the teacher of the other text models.

Devlin et al., "BERT" (2019), with the mean over the tokens of the last layer under a linear layer.
Layers near the input learn more slowly (`trainer.candidates.layer_rates`). The encoder is any BERT
or RoBERTa in Hugging Face's layout in the folder of weights. It is plain Keras, so it is fitted by
whichever backend and accelerator Keras uses.
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import keras
import keras_hub
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from shared.inference.preparation.text import PADDING
from trainer.candidates.devices import TILES, computes_bfloat16, has_accelerator
from trainer.candidates.imagenet import WeightsMissing
from trainer.candidates.layer_rates import LayerWise, warmed_cosine
from trainer.candidates.onnx.graph import Graph
from trainer.candidates.protocols import FitContext, Floats, Labels, TextReads
from trainer.candidates.text.encoders import CONFIG, TOKENIZER, cut_down, find_encoder, identity
from trainer.candidates.text.subwords import padded, tokens_of
from trainer.candidates.text.transformer_graph import LAYER, Encoder, mean_state

Tokens = NDArray[np.int32]

FITTED = "fitted.keras"
EPOCH = "epoch_{}.weights.h5"
KEPT = re.compile(r"epoch_(\d+)\.weights\.h5$")
#: Texts are padded to multiples of this length, so that a compiling backend meets few shapes.
LENGTH_STEP = 16
#: Encoders with larger tokens keep no activations: they are computed again for the gradients.
LARGEST_KEPT = 512
PREDICT_BATCH = 128


@dataclass(frozen=True)
class TransformerSettings:
    """Hyperparameters that are usual for encoders of this size; none was tuned.

    Attributes:
        layer_decay: Learning rate of a layer as a share of that of the layer above it.
        head_rate: Learning rate of the linear layer.
        warmup: Share of the steps in which the learning rates rise.
    """

    max_tokens: int = 96
    epochs: int = 3
    batch: int = 32
    learning_rate: float = 2e-4
    layer_decay: float = 0.9
    head_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    dropout: float = 0.1
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class TextTransformer:
    """Transformer candidate; see the module."""

    settings: TransformerSettings = field(default_factory=TransformerSettings)
    name: str = "text_transformer"
    is_teacher: ClassVar[bool] = True
    #: A fit takes hours.
    refits: ClassVar[bool] = False

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return the reason if there is no encoder."""
        if find_encoder(context.weights) is not None:
            return None
        return "Expected a folder of an encoder in the folder of weights. Received: none"

    def pretrained(self, context: FitContext) -> str:
        """Return the name and digest of the encoder."""
        encoder = find_encoder(context.weights)
        return identity(encoder) if encoder is not None else ""

    def prepare(self, texts: Sequence[str], folder: Path, context: FitContext) -> None:
        """Cut the encoder down to the subwords of the texts."""
        encoder = find_encoder(context.weights)
        if encoder is None:
            raise WeightsMissing(str(self.unavailable_reason(context)))
        cut_down(encoder, texts, folder)

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        folder: Path,
        prepared: Path,
        context: FitContext,
    ) -> None:
        """Fine-tune all layers; an interrupted fit continues with the epoch that it was in."""
        settings = self.settings
        shutil.copyfile(prepared / TOKENIZER, folder / TOKENIZER)
        tokens = tokens_of(texts, folder, settings.max_tokens)
        keras.utils.set_random_seed(context.seed)
        batches = Batches(tokens, labels, settings.batch, context.seed)
        network = compiled_network(prepared, batches, settings)
        for epoch in range(_resumed(network, folder), settings.epochs):
            _seed_dropout(network, context.seed, epoch)
            losses = [network.train_on_batch(*batch) for batch in batches.of(epoch)]
            loss = float(np.mean(losses))
            context.curve(f"{self.name}_loss", epoch + 1, loss)
            context.log_line(
                f"{self.name}: epoch {epoch + 1} of {settings.epochs}, loss {loss:.3f}"
            )
            network.save_weights(folder / EPOCH.format(epoch + 1))
            (folder / EPOCH.format(epoch)).unlink(missing_ok=True)
        network.save(folder / FITTED)
        (folder / EPOCH.format(settings.epochs)).unlink()

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        """Return logits, shape `(len(texts), classes)`."""
        network = load_network(folder)
        tokens = tokens_of(texts, folder, self.settings.max_tokens)
        order = np.argsort([len(row) for row in tokens], kind="stable")
        logits = np.zeros((len(tokens), network.output_shape[-1]), np.float32)
        for start in range(0, len(tokens), PREDICT_BATCH):
            chosen = order[start : start + PREDICT_BATCH]
            batch = _stacked([tokens[place] for place in chosen])
            logits[chosen] = network.predict_on_batch(batch)
        return logits

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the encoder and the linear layer to the graph."""
        network = load_network(folder)
        (backbone,) = (one for one in network.layers if isinstance(one, keras.Model))
        kernel, bias = network.get_layer("logits").get_weights()
        return graph.dense(mean_state(graph, Encoder.of(backbone)), kernel, bias)

    def reads(self, folder: Path) -> TextReads:
        """Return the tokenizer and the length."""
        return TextReads(
            encoder_tokenizer=folder / TOKENIZER, encoder_tokens=self.settings.max_tokens
        )


def compiled_network(
    encoder: Path, batches: "Batches", settings: TransformerSettings
) -> keras.Model:
    """Build the network, ready to be fitted on batches."""
    network = build_network(encoder, batches.labels.classes, settings)
    network.compile(
        optimizer=_optimizer(network, settings, steps=len(batches) * settings.epochs),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
        # On a processor, the compiler does not use its matrix units.
        jit_compile=has_accelerator(),
    )
    # TensorFlow traces the first step twice if the optimizer creates its variables in it.
    network.optimizer.build(network.trainable_variables)
    return network


def build_network(encoder: Path, classes: int, settings: TransformerSettings) -> keras.Model:
    """Build the network from int32 tokens `(batch, length)` to logits `(batch, classes)`."""
    policy = "mixed_bfloat16" if computes_bfloat16(TILES) else "float32"
    width = json.loads((encoder / CONFIG).read_text("utf-8"))["hidden_size"]
    with keras.RematScope(mode="full" if width > LARGEST_KEPT else None):
        backbone = keras_hub.models.Backbone.from_preset(
            str(encoder), dtype=policy, dropout=settings.dropout
        )
    for layer in backbone.layers:
        # Its output, of the first token alone, is not read.
        layer.trainable = layer.name != "pooled_dense"
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    is_token = ops.cast(ops.not_equal(tokens, PADDING), "int32")
    inputs = {"token_ids": tokens, "padding_mask": is_token}
    if "segment_ids" in backbone.input:
        inputs["segment_ids"] = ops.zeros_like(tokens)
    found = backbone(inputs)
    states = ops.cast(found["sequence_output"] if isinstance(found, dict) else found, "float32")
    weight = ops.expand_dims(ops.cast(is_token, "float32"), -1)
    mean = ops.sum(states * weight, axis=1) / ops.maximum(ops.sum(weight, axis=1), 1.0)
    dropped = layers.Dropout(settings.dropout)(mean)
    return keras.Model(tokens, layers.Dense(classes, name="logits", dtype="float32")(dropped))


@dataclass(frozen=True)
class Batches:
    """Batches of texts of about one length, in another order in each epoch."""

    tokens: Sequence[Tokens]
    labels: Labels
    size: int
    seed: int

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self.tokens) // self.size)

    def of(self, epoch: int) -> Iterator[tuple[Tokens, Floats, Floats]]:
        """Yield tokens `(batch, length)`, targets `(batch, classes)` and weights `(batch,)`."""
        generator = np.random.default_rng([self.seed, epoch])
        lengths = np.array([len(row) for row in self.tokens])
        jittered = lengths + generator.random(len(lengths)) * LENGTH_STEP
        order = np.argsort(jittered, kind="stable")
        batches = [order[i : i + self.size] for i in range(0, len(order), self.size)]
        generator.shuffle(batches)
        for chosen in batches:
            tokens = _stacked([self.tokens[place] for place in chosen])
            yield tokens, self.labels.distributions(chosen, 0.0), self.labels.weights[chosen]


def _optimizer(
    network: keras.Model, settings: TransformerSettings, steps: int
) -> keras.optimizers.Optimizer:
    return LayerWise(
        _factors(network, settings),
        learning_rate=warmed_cosine(settings.learning_rate, steps, settings.warmup),
        weight_decay=settings.weight_decay,
        clipnorm=1.0,
    )


def _factors(network: keras.Model, settings: TransformerSettings) -> list[float]:
    """Return the share of the learning rate of each variable."""
    paths = [one.path for one in network.trainable_variables]
    depth = 1 + max(int(match[1]) for path in paths if (match := LAYER.search(path)))

    def factor(path: str) -> float:
        if path.startswith("logits/"):
            return settings.head_rate / settings.learning_rate
        match = LAYER.search(path)
        return settings.layer_decay ** (depth - int(match[1]) - 1 if match else depth)

    return [factor(path) for path in paths]


def _seed_dropout(network: keras.Model, seed: int, epoch: int) -> None:
    """Make what an epoch drops depend on its number only: files of weights do not hold the seeds.

    Args:
        network: The network, with a seed in each of its layers that drop.
        seed: Seed of the fit.
        epoch: Number of the epoch.
    """
    states = [one for one in network.variables if one.path.endswith("seed_generator_state")]
    drawn = np.random.SeedSequence([seed, epoch]).generate_state(len(states))
    for state, number in zip(states, drawn, strict=True):
        state.assign([int(number >> 1), 0])


def _resumed(network: keras.Model, folder: Path) -> int:
    """Load the weights and the optimizer's state after the last finished epoch; return its number.

    Without a finished epoch nothing is loaded.
    """
    finished = {int(match[1]): one for one in folder.iterdir() if (match := KEPT.match(one.name))}
    if not finished:
        return 0
    network.load_weights(finished[max(finished)])
    return max(finished)


def _stacked(rows: Sequence[Tokens]) -> Tokens:
    stacked = padded(rows)
    missing = -stacked.shape[1] % LENGTH_STEP
    return np.pad(stacked, ((0, 0), (0, missing)), constant_values=PADDING)


def load_network(folder: Path) -> keras.Model:
    """Load the fitted network."""
    return keras.models.load_model(folder / FITTED, compile=False)
