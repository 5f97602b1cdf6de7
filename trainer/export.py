"""Writes the fitted networks as ONNX graphs, calibrated and ready to serve."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trainer.graph import OPSET, Graph, Storage, stored_small
from trainer.models.image_xception import SIZE
from trainer.models.text_rnn import FAR_BELOW

Floats = NDArray[np.float32]


def export_text(
    members: Sequence[keras.Model], temperature: float, storage: Storage = "int8"
) -> onnx.ModelProto:
    """Write the mean of the members' logits, over the temperature, through a softmax.

    The recurrent layer is ONNX's own `GRU`; an exported Keras layer would be a slow loop.

    Args:
        members: Networks of `text_rnn.build_network`.
        temperature: From `fit_temperature` on the mean logits.
        storage: How weights are kept in the file.
    """
    graph = Graph(storage)
    # Time first: the layout that the recurrent operator reads.
    tokens = graph.add("Transpose", "tokens", perm=[1, 0])
    is_token = graph.add(
        "Cast",
        graph.add("Not", graph.add("Equal", tokens, graph.constant(np.array(0, np.int32)))),
        to=TensorProto.FLOAT,
    )
    lengths = _sum(graph, is_token, keepdims=0)
    weight = graph.add("Unsqueeze", is_token, graph.constant(np.array([2], np.int64)))
    logits = [_member(graph, member, tokens, weight, lengths) for member in members]
    total = graph.add("Sum", *logits)
    _probabilities(graph, total, temperature * len(members))
    classes = members[0].output_shape[-1]
    return graph.model(
        [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", "length"])],
        [_output(classes)],
    )


def export_backbone(backbone: keras.Model, path: Path) -> None:
    """Write the frozen part in float32: `pictures` to `features`."""
    signature = (tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="pictures"),)
    model, _ = tf2onnx.convert.from_keras(backbone, input_signature=signature, opset=OPSET)
    onnx.save(model, path)


def export_image(
    backbone: onnx.ModelProto, head: keras.Model, temperature: float, storage: Storage = "int8"
) -> onnx.ModelProto:
    """Join the backbone and the fitted head; pixels come as uint8."""
    graph = Graph(storage)
    names = [_store(graph, tensor) for tensor in backbone.graph.initializer]
    renamed = {old.name: new for old, new in zip(backbone.graph.initializer, names, strict=True)}
    picture_input = backbone.graph.input[0].name
    pixels = graph.add("Cast", "pictures", to=TensorProto.FLOAT)
    renamed[picture_input] = pixels
    for node in backbone.graph.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = [renamed.get(name, name) for name in node.input]
        graph.nodes.append(copied)
    normalize, first, last = (
        layer for layer in head.layers if not isinstance(layer, keras.layers.Dropout)
    )
    # The normalisation is folded into the first layer.
    mean, spread = (np.asarray(part).reshape(-1) for part in _moments(normalize))
    kernel, bias = first.get_weights()
    value = graph.dense(
        backbone.graph.output[0].name, kernel / spread[:, None], bias - (mean / spread) @ kernel
    )
    value = graph.dense(graph.add("Relu", value), *last.get_weights())
    _probabilities(graph, value, temperature)
    return graph.model(
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [_output(last.units)],
    )


def _member(graph: Graph, network: keras.Model, tokens: str, weight: str, lengths: str) -> str:
    embedded = _embedded(graph, network.get_layer("embedding").get_weights()[0], tokens)
    states = _recurrent(graph, network.get_layer("recurrent"), embedded, lengths)
    hidden = graph.dense(states, *network.get_layer("attention_hidden").get_weights())
    one = graph.constant(np.array(1.0, np.float32))
    ended = graph.add(
        "Mul", graph.add("Sub", one, weight), graph.constant(np.array(FAR_BELOW, np.float32))
    )
    score = graph.dense(
        graph.add("Tanh", hidden), *network.get_layer("attention_score").get_weights()
    )
    share = graph.add("Softmax", graph.add("Add", score, ended), axis=0)
    attended = _sum(graph, graph.add("Mul", share, states), keepdims=0)
    largest = graph.add("ReduceMax", graph.add("Add", states, ended), axes=[0], keepdims=0)
    mean = graph.add(
        "Div",
        _sum(graph, graph.add("Mul", embedded, weight), keepdims=0),
        graph.add("Max", _sum(graph, weight, keepdims=0), one),
    )
    joined = graph.add("Concat", attended, largest, mean, axis=1)
    return graph.dense(joined, *network.get_layer("logits").get_weights())


def _embedded(graph: Graph, table: Floats, tokens: str) -> str:
    # A scale for each token, applied after the look-up: the table stays small in memory too.
    stored, scale = stored_small(table, (0,), graph.storage)
    rows = graph.add("Gather", graph.constant(stored), tokens)
    if stored.dtype != np.float32:
        rows = graph.add("Cast", rows, to=TensorProto.FLOAT)
    if scale is None:
        return rows
    return graph.add("Mul", rows, graph.add("Gather", graph.constant(scale), tokens))


def _recurrent(graph: Graph, layer: keras.layers.Bidirectional, value: str, lengths: str) -> str:
    """Both directions; Keras and ONNX keep the gates in the same order: update, reset, new."""
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
        linear_before_reset=1,  # Keras's `reset_after`
    )
    beside = graph.add("Transpose", states, perm=[0, 2, 1, 3])
    return graph.add("Reshape", beside, graph.constant(np.array([0, 0, 2 * units], np.int64)))


def _store(graph: Graph, tensor: onnx.TensorProto) -> str:
    array = numpy_helper.to_array(tensor)
    if array.dtype == np.float32 and array.ndim >= 2:
        return graph.weight(array, (0,))
    return graph.constant(array)


def _moments(normalize: keras.layers.Normalization) -> tuple[Floats, Floats]:
    mean = np.asarray(normalize.mean, np.float32)
    spread = np.sqrt(np.asarray(normalize.variance, np.float32))
    return mean, np.maximum(spread, keras.config.epsilon())


def _sum(graph: Graph, value: str, *, keepdims: int) -> str:
    return graph.add("ReduceSum", value, graph.constant(np.array([0], np.int64)), keepdims=keepdims)


def _probabilities(graph: Graph, logits: str, temperature: float) -> None:
    cooled = graph.add("Div", logits, graph.constant(np.array(temperature, np.float32)))
    graph.add("Softmax", cooled, axis=1, name="probabilities")


def _output(classes: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])
