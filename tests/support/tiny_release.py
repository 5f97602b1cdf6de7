"""A complete release of two categories in a few kilobytes, with which workers start at once.

The text model prefers category 0 for texts of fewer than five tokens and category 1 for longer
texts. The image model prefers category 0 for dark images and category 1 for bright images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from shared.contracts import Modality
from shared.inference.manifest import IMAGE_INPUT, ImagePart
from shared.inference.releases.fusion_model import FusionModel
from tests.support.factories import make_manifest

#: Number of tokens and brightness at which both categories have the same probability.
MIDDLE_TOKENS, MIDDLE_BRIGHTNESS = 4.5, 127.5

#: Image part of a manifest whose model consists of a backbone and a head.
TINY_EXTRACTOR = ImagePart(preparation="image-1", size=299, extractor="tiny-1", features=1)


def write_tiny_release(
    folder: Path,
    *,
    modalities: Sequence[Modality] = tuple(Modality),
    in_two_steps: bool = False,
    is_inverted: bool = False,
) -> Path:
    """Write a release folder and return it.

    Args:
        folder: Folder to create; must not exist.
        modalities: Modalities that the release has models for.
        in_two_steps: True for an image model of backbone and head.
        is_inverted: True for a text model that prefers the other category for each text.
    """
    folder.mkdir(parents=True)
    changes: dict[str, Any] = {m.value: None for m in Modality if m not in modalities}
    if in_two_steps and Modality.IMAGE in modalities:
        changes["image"] = TINY_EXTRACTOR
    make_manifest(**changes).write(folder)
    if Modality.TEXT in modalities:
        (folder / "text").mkdir()
        _tokenizer().save(str(folder / "text/tokenizer.json"))
        onnx.save(_text_model(-1.0 if is_inverted else 1.0), str(folder / "text/model.onnx"))
    if Modality.IMAGE in modalities:
        (folder / "image").mkdir()
        models = _two_image_models() if in_two_steps else {"model": _image_model()}
        for name, model in models.items():
            onnx.save(model, str(folder / f"image/{name}.onnx"))
    if len(modalities) > 1:
        even = np.ones(2, np.float32)
        FusionModel(even, even, np.zeros(2, np.float32)).save(folder / "fusion")
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "piscine": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def _text_model(slope: float) -> Any:
    # The number of tokens that are not padding; 0 is padding.
    steps = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Sign", ["numbers"], ["ones"]),
        helper.make_node("ReduceSum", ["ones", "axes"], ["amount"], keepdims=1),
    ]
    tokens = _tensor("tokens", TensorProto.INT32, ["batch", "length"])
    return _model(tokens, steps, axes=[1], middle=MIDDLE_TOKENS, slope=slope)


def _image_model() -> Any:
    # The mean brightness of the image.
    return _model(_images(), _brightness("amount"), [1, 2, 3], MIDDLE_BRIGHTNESS, 0.02)


def _two_image_models() -> dict[str, Any]:
    features = _tensor("features", TensorProto.FLOAT, ["batch", 1])
    constants = {"axes": np.array([1, 2, 3], np.int64), "tail": np.array([2, 3], np.int64)}
    return {
        "backbone": _onnx_model(_images(), _brightness("features"), features, constants),
        "head": _model(
            features,
            [helper.make_node("Identity", ["features"], ["amount"])],
            [],
            MIDDLE_BRIGHTNESS,
            0.02,
        ),
    }


def _images() -> Any:
    return _tensor(IMAGE_INPUT, TensorProto.UINT8, ["batch", 299, 299, 3])


def _brightness(output: str) -> list[Any]:
    return [
        helper.make_node("Cast", [IMAGE_INPUT], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["mean"], keepdims=1),
        helper.make_node("Squeeze", ["mean", "tail"], [output]),
    ]


def _model(source: Any, steps: list[Any], axes: list[int], middle: float, slope: float) -> Any:
    constants = {
        "axes": np.array(axes, np.int64),
        "tail": np.array([2, 3], np.int64),
        "slope": np.array([[-slope, slope]], np.float32),
        "bias": np.array([middle * slope, -middle * slope], np.float32),
    }
    steps = [
        *steps,
        helper.make_node("MatMul", ["amount", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return _onnx_model(
        source, steps, _tensor("probabilities", TensorProto.FLOAT, ["batch", 2]), constants
    )


def _onnx_model(source: Any, steps: list[Any], output: Any, constants: dict[str, Any]) -> Any:
    graph = helper.make_graph(
        steps,
        "tiny",
        [source],
        [output],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _tensor(name: str, kind: int, shape: list[int | str]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)
