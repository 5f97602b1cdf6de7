"""Detects the languages of product texts.

The monitor detects them without pandas, which takes 32 MiB; only tables of languages need it.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from shared.memory import return_free_memory

if TYPE_CHECKING:
    import pandas as pd

#: Candidate languages. The detector supports about a hundred, but then it mistakes short titles in
#: a large language for related small ones.
LANGUAGES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "ms": "Malay",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
UNSURE, NO_TEXT, OTHERS = "unsure", "no text", "others"
#: Minimum probability of a detected language; below it the result is `UNSURE`.
CONFIDENCE = 0.5
#: Number of characters examined; more do not improve detection.
CHARACTERS = 1_000


def detect(texts: Iterable[str]) -> list[str]:
    """Detect the language of each text.

    Args:
        texts: Prepared texts: without HTML, in lower case.

    Returns:
        A name from `LANGUAGES`, `UNSURE` or `NO_TEXT`. The detector is langid.py's; Lui and
        Baldwin, "langid.py: An off-the-shelf language identification tool", ACL 2012.
    """
    classify = _detector().classify
    return [_name(classify(text[:CHARACTERS])[0], text) for text in texts]


def overview(languages: "pd.Series") -> "pd.DataFrame":
    """Count `products` and their `share` by language, most frequent first."""
    import pandas as pd

    products = languages.value_counts()
    return pd.DataFrame({"products": products, "share": products / max(len(languages), 1)})


def by_category(languages: "pd.Series", codes: "pd.Series", *, most: int = 4) -> "pd.DataFrame":
    """Return language shares by category: the most common languages, the others, unsure."""
    import pandas as pd

    named = languages[~languages.isin([UNSURE, NO_TEXT])]
    common = named.value_counts().index[:most].tolist()
    kept = languages.where(languages.isin([*common, UNSURE, NO_TEXT]), OTHERS)
    table = pd.crosstab(codes, kept, normalize="index")
    order = [name for name in (*common, OTHERS, UNSURE, NO_TEXT) if name in table]
    return table[order].rename_axis("code").rename_axis(None, axis="columns")


@lru_cache(maxsize=1)
def _detector() -> LanguageIdentifier:
    # Unpacking the model takes half a second.
    of_all = LanguageIdentifier.from_model_file(MODEL_FILE)
    of_all.set_languages(list(LANGUAGES))
    # The first detector also keeps the weights of all languages, 27 MiB.
    detector = LanguageIdentifier(
        of_all.nb_ptc,
        of_all.nb_pc,
        of_all.nb_classes,
        of_all.tk_nextmove,
        of_all.tk_output,
        norm_probs=True,
        min_confidence=CONFIDENCE,
        tk_row=of_all.tk_row,
    )
    del of_all
    return_free_memory()
    return detector


def _name(code: str, text: str) -> str:
    if not text:
        return NO_TEXT
    return LANGUAGES.get(code, UNSURE)
