"""Preparation of texts for training and serving; its version is part of the release."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import ftfy
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared.contracts import MAX_TEXT_CHARACTERS
from shared.errors import ReleaseIncompatible
from shared.inference.manifest import Ngrams, TextPart
from shared.inference.preparation.ngrams import character_ids, counted, word_ids
from shared.readable import readable

#: Version of the preparation; changes whenever the same product would give other tokens.
TEXT_PREPARATION = "text-2"
#: Versions whose releases are read: `text-1` gives other tokens only for texts with style sheets,
#: long tags, invisible characters or placeholders, which its models have hardly seen.
READ_PREPARATIONS = ("text-1", TEXT_PREPARATION)
PADDING, UNKNOWN = 0, 1
#: Token inputs of text models, and the tokenizer of each within the folder of a text model.
TOKENS, ENCODER_TOKENS = "tokens", "encoder_tokens"
TOKENIZERS = {TOKENS: "tokenizer.json", ENCODER_TOKENS: "encoder_tokenizer.json"}

# Characters that show UTF-8 decoded as Latin-1 or Windows-1252. The repair is slow, and most texts
# need none.
_MOJIBAKE = re.compile("[\u00c2\u00c3\u00e2\u00d0\u00c5\ufffd\u0080-\u009f]")
_SPACE = re.compile(r"\s+")


def product_text(designation: str, description: str) -> str:
    """Join a product's title and description into the text that the model reads.

    A title repeated at the start of the description is used once.
    """
    title, body = clean(designation), clean(description)
    if body.startswith(title):
        return body
    return f"{title} {body}".strip()


def clean(raw: str) -> str:
    """Keep what a person reads; repair broken encodings; lowercase; collapse spaces.

    Long texts are truncated; the models read far less. A text without words is empty.
    """
    text = readable(raw)[:MAX_TEXT_CHARACTERS]
    if _MOJIBAKE.search(text):
        text = ftfy.fix_encoding(text)
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).lower()).strip()


class TextInputs:
    """Builds the input arrays of a text model from prepared texts.

    Args:
        encoders: Encoders of the token inputs, by the name of the input.
        ngrams: Parameters of the n-gram inputs; `None` if the model has none.
    """

    def __init__(self, encoders: "Mapping[str, TextEncoder]", ngrams: Ngrams | None) -> None:
        self._encoders = encoders
        self._ngrams = ngrams

    @classmethod
    def load(cls, folder: Path, part: TextPart) -> "TextInputs":
        """Load the encoder from the `text/` folder of a release.

        Raises:
            ReleaseIncompatible: The release was made for another preparation of text.
        """
        if part.preparation not in READ_PREPARATIONS:
            raise ReleaseIncompatible(
                f"Expected a release for the preparation {' or '.join(READ_PREPARATIONS)}. "
                f"Received: {part.preparation!r}"
            )
        limits = {TOKENS: part.max_tokens, ENCODER_TOKENS: part.encoder_tokens}
        encoders = {
            name: TextEncoder.load(folder / TOKENIZERS[name], limit)
            for name, limit in limits.items()
            if limit is not None
        }
        return cls(encoders, part.ngrams)

    def of(self, texts: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        """Return the inputs of the model by name, each of shape `(len(texts), …)`."""
        inputs: dict[str, NDArray[np.generic]] = {
            name: encoder.encode(texts) for name, encoder in self._encoders.items()
        }
        if self._ngrams is not None:
            words, word_counts = counted(texts, self._ngrams, word_ids)
            characters, character_counts = counted(texts, self._ngrams, character_ids)
            inputs |= {
                "words": words,
                "word_counts": word_counts,
                "characters": characters,
                "character_counts": character_counts,
            }
        return inputs


class TextEncoder:
    """Encodes prepared texts as token ids.

    Args:
        tokenizer: Tokenizer with id 0 for padding and 1 for unknown pieces.
        max_tokens: Limit; longer texts are truncated.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        tokenizer.enable_truncation(max_tokens)
        tokenizer.enable_padding(pad_id=PADDING)
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> "TextEncoder":
        """Load a `tokenizer.json`."""
        return cls(Tokenizer.from_file(str(path)), max_tokens)

    def encode(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Encode texts.

        Returns:
            Token numbers, shape `(len(texts), tokens of the longest)`, 0 where a text has ended.
        """
        rows = self._tokenizer.encode_batch_fast(list(texts))
        tokens = np.array([row.ids for row in rows], dtype=np.int32).reshape(len(rows), -1)
        if not tokens.shape[1]:
            tokens = np.full((len(texts), 1), PADDING, np.int32)
        # The network needs at least one step, even for a text without letters.
        tokens[tokens[:, 0] == PADDING, 0] = UNKNOWN
        return tokens
