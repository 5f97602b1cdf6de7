"""A tiny transformer encoder with random weights, in Hugging Face's layout."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HIDDEN, LAYERS, HEADS, INNER, LONGEST = 32, 2, 4, 64, 40
#: Pieces that no text of the tests uses.
UNUSED = tuple(f"inutile{number}" for number in range(50))
Floats = NDArray[np.float32]


def write_encoder(folder: Path, words: Sequence[str], kind: str = "bert") -> None:
    """Write an encoder that knows some words and the letters of each.

    Args:
        folder: Folder to write, which does not exist.
        words: Words with a piece of their own.
        kind: `bert` has a tokenizer of the kind WordPiece, `xlm-roberta` one of the kind Unigram.
    """
    folder.mkdir(parents=True)
    is_bert = kind == "bert"
    letters = sorted({letter for word in words for letter in word})
    tokenizer = _word_pieces(words, letters) if is_bert else _unigrams(words, letters)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab_size()
    positions = LONGEST if is_bert else LONGEST + 2
    config = {
        "model_type": kind,
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": positions,
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    save_file(_tensors(vocabulary, positions), folder / "model.safetensors")


def _word_pieces(words: Sequence[str], letters: Sequence[str]) -> Tokenizer:
    # As in real vocabularies, special tokens lie apart from one another.
    pieces = ["[PAD]", *UNUSED, "[UNK]", "[CLS]", "[SEP]", *words]
    pieces += [*letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    return tokenizer


def _unigrams(words: Sequence[str], letters: Sequence[str]) -> Tokenizer:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *UNUSED, *(f"▁{word}" for word in words)]
    scored = [(piece, -1.0) for piece in pieces] + [(letter, -9.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _tensors(vocabulary: int, positions: int) -> dict[str, Floats]:
    generator = np.random.default_rng(0)

    def random(*shape: int) -> Floats:
        return generator.normal(0, 0.3, shape).astype(np.float32)

    def norm(name: str) -> dict[str, Floats]:
        return {f"{name}.weight": 1 + random(HIDDEN), f"{name}.bias": random(HIDDEN)}

    def dense(name: str, inputs: int, outputs: int) -> dict[str, Floats]:
        return {f"{name}.weight": random(outputs, inputs), f"{name}.bias": random(outputs)}

    tensors = {
        "embeddings.word_embeddings.weight": random(vocabulary, HIDDEN),
        "embeddings.position_embeddings.weight": random(positions, HIDDEN),
        "embeddings.token_type_embeddings.weight": random(2, HIDDEN),
        **norm("embeddings.LayerNorm"),
        **dense("pooler.dense", HIDDEN, HIDDEN),
    }
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            tensors |= dense(f"{layer}.attention.{name}", HIDDEN, HIDDEN)
        tensors |= norm(f"{layer}.attention.output.LayerNorm")
        tensors |= dense(f"{layer}.intermediate.dense", HIDDEN, INNER)
        tensors |= dense(f"{layer}.output.dense", INNER, HIDDEN)
        tensors |= norm(f"{layer}.output.LayerNorm")
    return tensors
