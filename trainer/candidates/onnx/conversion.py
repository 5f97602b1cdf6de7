"""Conversion of a Keras network to an ONNX graph.

tf2onnx copies a graph with all its weights in each pass of its optimiser and frees no copy: 7.2 GB
for the 83 MB of Xception. So it gets a network whose large weights are inputs, and the weights are
inserted afterwards: 1.2 GB, most of it TensorFlow's own, and a tenth of the time.
"""

from collections.abc import Iterable, Mapping

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from shared.inference.manifest import IMAGE_INPUT
from trainer.candidates.onnx.graph import OPSET

Arrays = Mapping[str, NDArray[np.generic]]


def as_onnx(network: keras.Model, size: int) -> onnx.ModelProto:
    """Convert an image network: `images` float32 `(batch, size, size, 3)` to its output."""
    values = [
        variable.numpy()
        for variable in (*network.trainable_variables, *network.non_trainable_variables)
    ]
    # Biases and statistics stay constants, so that the optimiser can move transpositions past them.
    weights = {f"weight_{place}": one for place, one in enumerate(values) if one.ndim > 1}
    trainable = len(network.trainable_variables)

    def call(images: tf.Tensor, *weight_inputs: tf.Tensor) -> tf.Tensor:
        named = dict(zip(weights, weight_inputs, strict=True))
        state = [
            named.get(f"weight_{place}", None if value.ndim > 1 else tf.constant(value))
            for place, value in enumerate(values)
        ]
        found, _ = network.stateless_call(
            state[:trainable], state[trainable:], images, training=False
        )
        return found

    signature = [tf.TensorSpec((None, size, size, 3), tf.float32, name=IMAGE_INPUT)]
    signature += [tf.TensorSpec(one.shape, one.dtype, name=name) for name, one in weights.items()]
    function = tf.function(call, autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    return bound(model, weights)


def bound(model: onnx.ModelProto, weights: Arrays) -> onnx.ModelProto:
    """Replace inputs by constants, and evaluate nodes that depend on constants only."""
    kept = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    known = {*kept, *weights}
    fixed, rest = [], []
    for node in model.graph.node:
        if all(name in known for name in node.input):
            fixed.append(node)
            known.update(node.output)
        else:
            rest.append(node)
    # In the order of their use, for their names differ between conversions. The file must be the
    # same each time: features are stored under a digest of it.
    wanted = dict.fromkeys(name for node in rest for name in node.input if name in known)
    constants = {**kept, **weights, **_computed(fixed, {**kept, **weights}, wanted)}
    graph = helper.make_graph(
        rest,
        model.graph.name,
        [one for one in model.graph.input if one.name not in weights],
        model.graph.output,
        [numpy_helper.from_array(np.ascontiguousarray(constants[name]), name) for name in wanted],
    )
    return helper.make_model(graph, opset_imports=model.opset_import)


def _computed(nodes: list[onnx.NodeProto], known: Arrays, wanted: Iterable[str]) -> Arrays:
    made = {name for node in nodes for name in node.output}
    outputs = [name for name in wanted if name in made]
    if not outputs:
        return {}
    graph = helper.make_graph(
        nodes,
        "constants",
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in known],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    return dict(zip(outputs, ReferenceEvaluator(model).run(outputs, dict(known)), strict=True))
