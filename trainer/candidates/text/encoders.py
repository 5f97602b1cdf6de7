"""Pretrained encoders in Hugging Face's layout, cut down to the subwords that a shop's texts use.

Of the 250,000 subwords of a multilingual encoder, which are four fifths of its weights, a shop
uses one in twenty. The others cost memory, and time in each step of a training.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from shared.errors import InvalidInput
from shared.inference.preparation.text import PADDING, UNKNOWN

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
FILES = (CONFIG, WEIGHTS, TOKENIZER)
#: Architectures whose graph the export knows: BERT and those that differ by positions only.
KINDS = ("bert", "camembert", "roberta", "xlm-roberta")
#: Names of special tokens; other added tokens, such as the mask, are left out.
PADDING_NAMES, UNKNOWN_NAMES = ("<pad>", "[PAD]"), ("<unk>", "[UNK]")
SPECIAL = {*PADDING_NAMES, *UNKNOWN_NAMES, "<s>", "</s>", "[CLS]", "[SEP]"}
#: Subwords that occur less often are left to the pieces that they consist of.
LEAST_COUNT = 2
WORDS = "word_embeddings.weight"
#: Bytes of an encoder's weights that identify it.
IDENTIFYING_BYTES = 2**20


def find_encoder(weights: Path | None) -> Path | None:
    """Return the first folder of an encoder within the folder of weights."""
    if weights is None or not weights.is_dir():
        return None
    found = (one for one in sorted(weights.iterdir()) if (one / CONFIG).is_file())
    return next((one for one in found if _config(one).get("model_type") in KINDS), None)


def identity(folder: Path) -> str:
    """Return a name for the contents of an encoder's folder, for the keys of steps."""
    digest = hashlib.sha256((folder / CONFIG).read_bytes())
    with (folder / WEIGHTS).open("rb") as file:
        digest.update(file.read(IDENTIFYING_BYTES))
        file.seek(-min(IDENTIFYING_BYTES, (folder / WEIGHTS).stat().st_size), 2)
        digest.update(file.read())
    return f"{folder.name} {digest.hexdigest()[:16]}"


def cut_down(encoder: Path, texts: Sequence[str], folder: Path) -> None:
    """Write the encoder with the subwords that `texts` use, in the same layout.

    Padding becomes number 0 and the unknown piece number 1, as in all tokenizers of releases.

    Raises:
        InvalidInput: A file is missing, or the tokenizer has neither pieces nor words.
    """
    missing = [name for name in FILES if not (encoder / name).is_file()]
    if missing:
        raise InvalidInput(f"Expected {', '.join(FILES)} in {encoder}. Missing: {missing[0]}")
    tokenizer = json.loads((encoder / TOKENIZER).read_text("utf-8"))
    kept = _kept(encoder, tokenizer, texts)
    (folder / TOKENIZER).write_text(json.dumps(_with(tokenizer, kept), ensure_ascii=False), "utf-8")
    tensors = load_file(encoder / WEIGHTS)
    (name,) = (one for one in tensors if one.endswith(WORDS))
    tensors[name] = np.ascontiguousarray(tensors[name][kept])
    save_file(tensors, folder / WEIGHTS)
    config = _config(encoder) | {"vocab_size": len(kept), "pad_token_id": PADDING}
    if config["model_type"] == "camembert":
        # KerasHub knows this architecture by the name of another model that has it.
        config["model_type"] = "xlm-roberta"
    (folder / CONFIG).write_text(json.dumps(config, indent=1), "utf-8")


def _config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / CONFIG).read_text("utf-8")))
    except ValueError as error:
        raise InvalidInput(f"Expected JSON in {folder / CONFIG}. Received: {error}") from error


def _kept(encoder: Path, tokenizer: dict[str, Any], texts: Sequence[str]) -> NDArray[np.int64]:
    """Return the numbers of the kept pieces in their new order."""
    pieces = _pieces(tokenizer)
    special = [one["id"] for one in tokenizer["added_tokens"] if one["content"] in SPECIAL]
    first = [_number(pieces, PADDING_NAMES), _number(pieces, UNKNOWN_NAMES)]
    first += [number for number in special if number not in first]
    if tokenizer["model"]["type"] == "BPE":
        # Its pieces are merged from one another, so that none can be left out.
        rest = [number for number in range(len(pieces)) if number not in set(first)]
        return np.array(first + rest, np.int64)
    rows = Tokenizer.from_file(str(encoder / TOKENIZER)).encode_batch_fast(list(texts))
    used = Counter(number for row in rows for number in row.ids)
    letters = {letter for text in texts for letter in text}
    rest = [
        number
        for number, piece in enumerate(pieces)
        if number not in first
        and (used[number] >= LEAST_COUNT or piece.removeprefix("##").lstrip("▁") in letters)
    ]
    return np.array(first + rest, np.int64)


def _pieces(tokenizer: dict[str, Any]) -> list[str]:
    """Return the pieces of a vocabulary by number."""
    vocabulary = tokenizer["model"].get("vocab")
    if isinstance(vocabulary, dict):
        return sorted(vocabulary, key=vocabulary.__getitem__)
    if isinstance(vocabulary, list):
        return [piece for piece, _ in vocabulary]
    raise InvalidInput(
        "Expected a tokenizer with a vocabulary of pieces (Unigram, WordPiece or BPE). "
        f"Received: {tokenizer['model']['type']}"
    )


def _number(pieces: Sequence[str], names: Sequence[str]) -> int:
    for name in names:
        if name in pieces:
            return pieces.index(name)
    raise InvalidInput(f"Expected a tokenizer with one of {', '.join(names)}. Received: none")


def _with(tokenizer: dict[str, Any], kept: NDArray[np.int64]) -> dict[str, Any]:
    """Return a tokenizer of the kept pieces."""
    model, numbers = tokenizer["model"], {int(old): new for new, old in enumerate(kept)}
    vocabulary: dict[str, int] | list[Any]
    if isinstance(model["vocab"], dict):
        vocabulary = {piece: numbers[n] for piece, n in model["vocab"].items() if n in numbers}
    else:
        vocabulary = [model["vocab"][number] for number in kept]
    unknown = {"unk_id": UNKNOWN} if "unk_id" in model else {}
    return tokenizer | {
        "model": model | {"vocab": vocabulary} | unknown,
        "added_tokens": [
            one | {"id": numbers[one["id"]]}
            for one in tokenizer["added_tokens"]
            if one["id"] in numbers
        ],
        "post_processor": _renumbered(tokenizer["post_processor"], numbers),
    }


def _renumbered(processor: dict[str, Any], numbers: dict[int, int]) -> dict[str, Any]:
    """Return the rule that adds special tokens to a text, with their new numbers."""
    if processor["type"] == "TemplateProcessing":
        special = {
            name: one | {"ids": [numbers[number] for number in one["ids"]]}
            for name, one in processor["special_tokens"].items()
        }
        return processor | {"special_tokens": special}
    ends = {name: [processor[name][0], numbers[processor[name][1]]] for name in ("cls", "sep")}
    return processor | ends
