"""Detect and decode the encoding of a table, line by line."""

import re
from collections.abc import Iterable

import chardet

#: Encodings that spreadsheets write instead of UTF-8: Windows, old Macs, MS-DOS.
LEGACY = ("cp1252", "mac_roman", "cp850")
#: Bytes of undecodable lines that the detection looks at.
SAMPLE_BYTES = 100_000
#: Characters beyond ASCII of Western European text in Windows-1252, and the least share of them.
_PLAUSIBLE = re.compile("[À-ÖØ-öø-ÿœŒ«»°€’–…®™²³·©½¼•\u00a0]")
PLAUSIBLE_SHARE = 0.8
#: A character of more than one byte in UTF-8.
_MULTIBYTE = re.compile(rb"[\xc3-\xf4][\x80-\xbf]+")
#: The byte order mark of UTF-8.
BOM = b"\xef\xbb\xbf"


def legacy_encoding(lines: Iterable[bytes]) -> str | None:
    """Return the encoding of the lines that are not UTF-8; `None` if there are none."""
    others = (line for line in lines if not _is_utf8(line) and not _MULTIBYTE.search(line))
    sample = b"".join(others)[:SAMPLE_BYTES]
    if not sample:
        return None
    if _is_windows(sample):
        return LEGACY[0]
    found = chardet.detect(sample, include_encodings=LEGACY, no_match_encoding=LEGACY[0])
    return _codec(found["encoding"])


def decoded(raw: bytes, legacy: str | None = None) -> str:
    """Decode a line as UTF-8, or in a legacy encoding where it is not UTF-8.

    In a line that contains characters of UTF-8, only the invalid bytes are replaced. Any other
    line is decoded in the legacy encoding, also beside lines in UTF-8: rows that another program
    appended are often in another encoding than the rest of the file.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        if _MULTIBYTE.search(raw):
            return raw.decode(errors="replace")
        return raw.decode(legacy or LEGACY[0], errors="replace")


def _is_windows(sample: bytes) -> bool:
    """Return True if a text reads well in Windows-1252, by far the most frequent of them.

    In the other encodings, accented letters have the bytes of rare punctuation.
    """
    others = [one for one in sample.decode(LEGACY[0], errors="replace") if not one.isascii()]
    return len(_PLAUSIBLE.findall("".join(others))) > PLAUSIBLE_SHARE * len(others)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _codec(name: str | None) -> str:
    plain = (name or "").lower().replace("-", "").replace("_", "")
    known = {"macroman": "mac_roman", "cp850": "cp850", "ibm850": "cp850"}
    return known.get(plain, LEGACY[0])
