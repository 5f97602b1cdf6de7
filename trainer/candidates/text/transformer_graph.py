"""ONNX graph of a transformer encoder, with its products in 8-bit integers.

Vaswani et al., "Attention Is All You Need" (2017), section 3, in the form of BERT: normalisation
follows each sum. An exported Keras graph would be three times as slow, for ONNX Runtime knows its
parts by this form and fuses them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from onnx import TensorProto

from shared.inference.preparation.text import ENCODER_TOKENS, PADDING
from trainer.candidates.onnx.graph import Graph
from trainer.candidates.protocols import Floats

#: Replaces minus infinity at padded positions.
FAR_BELOW = -1e9
#: Number of a layer in the path of its variables.
LAYER = re.compile(r"transformer_layer_(\d+)/")


@dataclass(frozen=True)
class Encoder:
    """Weights of a fitted encoder.

    Attributes:
        values: By the end of the variable's path, such as `token_embedding/embeddings`; those of
            layers begin with `transformer_layer_0/`.
        heads: Number of attention heads.
        epsilon: Added to variances in normalisations.
        has_exact_gelu: Computes GELU exactly, as KerasHub's RoBERTa, and not by an approximation,
            as its BERT.
    """

    values: Mapping[str, Floats]
    heads: int
    epsilon: float
    has_exact_gelu: bool

    @classmethod
    def of(cls, backbone: keras.Model) -> "Encoder":
        """Read the weights of KerasHub's backbone."""
        values = {one.path: np.asarray(one.numpy(), np.float32) for one in backbone.weights}
        norm = backbone.get_layer("embeddings_layer_norm")
        first = backbone.get_layer("transformer_layer_0")
        is_exact = first.activation is keras.activations.gelu
        return cls(values, backbone.num_heads, float(norm.epsilon), is_exact)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return 1 + max(int(found[1]) for name in self.values if (found := LAYER.search(name)))

    def get(self, ending: str) -> Floats:
        """Return the weight whose path ends so."""
        (found,) = (value for name, value in self.values.items() if name.endswith(ending))
        return found

    def layer(self, number: int, part: str) -> Floats:
        """Return a weight of a layer."""
        return self.get(f"transformer_layer_{number}/{part}")


def mean_state(graph: Graph, encoder: Encoder) -> str:
    """Add the encoder, from `encoder_tokens` to the mean over tokens `(batch, hidden)`."""
    padding = graph.constant(np.array(PADDING, np.int32))
    is_token = graph.add("Not", graph.add("Equal", ENCODER_TOKENS, padding))
    weight = graph.add("Cast", is_token, to=TensorProto.FLOAT)
    one = graph.constant(np.array(1.0, np.float32))
    far = graph.constant(np.array(FAR_BELOW, np.float32))
    heads_axes = graph.constant(np.array([1, 2], np.int64))
    hidden_keys = graph.add("Mul", graph.add("Sub", one, weight), far)
    hidden_keys = graph.add("Unsqueeze", hidden_keys, heads_axes)
    states = _embedded(graph, encoder)
    for number in range(encoder.depth):
        states = _attended(graph, encoder, number, states, hidden_keys)
        states = _transformed(graph, encoder, number, states)
    last, length = (graph.constant(np.array([axis], np.int64)) for axis in (2, 1))
    weighted = graph.add("Mul", states, graph.add("Unsqueeze", weight, last))
    total = graph.add("ReduceSum", weighted, length, keepdims=0)
    count = graph.add("ReduceSum", weight, length, keepdims=1)
    return graph.add("Div", total, graph.add("Max", count, one))


def _embedded(graph: Graph, encoder: Encoder) -> str:
    tokens = graph.rows(encoder.get("token_embedding/embeddings"), ENCODER_TOKENS)
    positions = encoder.get("position_embedding/embeddings")
    if any("segment_embedding" in name for name in encoder.values):
        # All tokens belong to the first segment.
        positions = positions + encoder.get("segment_embedding/embeddings")[:1]
    zero, one = (graph.constant(np.array([number], np.int64)) for number in (0, 1))
    length = graph.add("Slice", graph.add("Shape", ENCODER_TOKENS), one, _two(graph))
    used = graph.add("Slice", graph.constant(positions.astype(np.float32)), zero, length, zero)
    gain, offset = (encoder.get(f"embeddings_layer_norm/{part}") for part in ("gamma", "beta"))
    return _normalised(graph, encoder, graph.add("Add", tokens, used), gain, offset)


def _two(graph: Graph) -> str:
    return graph.constant(np.array([2], np.int64))


def _attended(graph: Graph, encoder: Encoder, number: int, states: str, hidden_keys: str) -> str:
    names = ("query", "key", "value")
    kernels = [encoder.layer(number, f"self_attention_layer/{name}/kernel") for name in names]
    biases = [encoder.layer(number, f"self_attention_layer/{name}/bias") for name in names]
    hidden, heads, size = kernels[0].shape
    # One product for all three, so that the states are quantised once.
    joined = graph.integer_dense(
        states,
        np.concatenate([one.reshape(hidden, heads * size) for one in kernels], axis=1),
        np.concatenate([one.reshape(-1) for one in biases]),
    )
    form = graph.constant(np.array([0, 0, heads, size], np.int64))
    queries, keys, values = (
        graph.add("Reshape", one, form) for one in graph.split(joined, len(names), axis=2)
    )
    queries = graph.add("Transpose", queries, perm=[0, 2, 1, 3])
    keys = graph.add("Transpose", keys, perm=[0, 2, 3, 1])
    values = graph.add("Transpose", values, perm=[0, 2, 1, 3])
    root = graph.constant(np.array(math.sqrt(size), np.float32))
    scores = graph.add("Div", graph.add("MatMul", queries, keys), root)
    shares = graph.add("Softmax", graph.add("Add", scores, hidden_keys), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", shares, values), perm=[0, 2, 1, 3])
    mixed = graph.add("Reshape", mixed, graph.constant(np.array([0, 0, heads * size], np.int64)))
    kernel = encoder.layer(number, "self_attention_layer/attention_output/kernel")
    bias = encoder.layer(number, "self_attention_layer/attention_output/bias")
    output = graph.integer_dense(mixed, kernel.reshape(heads * size, hidden), bias)
    gain, offset = (
        encoder.layer(number, f"self_attention_layer_norm/{part}") for part in ("gamma", "beta")
    )
    return _normalised(graph, encoder, graph.add("Add", output, states), gain, offset)


def _transformed(graph: Graph, encoder: Encoder, number: int, states: str) -> str:
    def dense(value: str, part: str) -> str:
        kernel, bias = (encoder.layer(number, f"{part}/{kind}") for kind in ("kernel", "bias"))
        return graph.integer_dense(value, kernel, bias)

    gelu = _exact_gelu if encoder.has_exact_gelu else _gelu
    inner = gelu(graph, dense(states, "feedforward_intermediate_dense"))
    output = dense(inner, "feedforward_output_dense")
    gain, offset = (
        encoder.layer(number, f"feedforward_layer_norm/{part}") for part in ("gamma", "beta")
    )
    return _normalised(graph, encoder, graph.add("Add", output, states), gain, offset)


def _exact_gelu(graph: Graph, value: str) -> str:
    root, one, half = (
        graph.constant(np.array(number, np.float32)) for number in (math.sqrt(2), 1.0, 0.5)
    )
    bracket = graph.add("Add", graph.add("Erf", graph.add("Div", value, root)), one)
    return graph.add("Mul", graph.add("Mul", value, bracket), half)


def _gelu(graph: Graph, value: str) -> str:
    """Add GELU by its approximation with a hyperbolic tangent.

    Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), section 2.
    """

    def number(one: float) -> str:
        return graph.constant(np.array(one, np.float32))

    cube = graph.add("Pow", value, number(3.0))
    inner = graph.add("Add", value, graph.add("Mul", number(0.044715), cube))
    inner = graph.add("Mul", number(math.sqrt(2 / math.pi)), inner)
    bracket = graph.add("Add", number(1.0), graph.add("Tanh", inner))
    return graph.add("Mul", graph.add("Mul", value, number(0.5)), bracket)


def _normalised(graph: Graph, encoder: Encoder, value: str, gain: Floats, offset: Floats) -> str:
    return graph.add(
        "LayerNormalization",
        value,
        graph.constant(gain),
        graph.constant(offset),
        axis=-1,
        epsilon=encoder.epsilon,
    )
