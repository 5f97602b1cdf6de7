"""Convert tables that are not plain text: compressed files, spreadsheets, UTF-16, JSON arrays."""

import codecs
import gzip
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import BinaryIO, Literal

from shared.archives import BROKEN, is_litter, open_archive
from shared.errors import InvalidInput
from shared.image_formats import SUFFIXES
from shared.tables.json_text import json_lines
from shared.tables.workbooks import csv_lines

#: Suffixes of the files that are read as tables.
TABLE_SUFFIXES = frozenset(
    (
        *(".csv", ".tsv", ".txt", ".gz", ".json", ".jsonl", ".ndjson"),
        *(".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
    )
)
Kind = Literal["plain", "gzip", "zip", "workbook", "utf-16", "json"]

#: Bytes of the beginning of a file that tell its kind.
HEAD_BYTES = 4_096
PIECE_BYTES = 1024 * 1024
#: Packings within each other, such as an array of JSON in a ZIP archive.
MAX_DEPTH = 3
#: Most files of a ZIP archive that packs a table.
MAX_MEMBERS = 1_000
#: Most files of one that packs images too.
MAX_MEMBERS_WITH_IMAGES = 500_000
ADVICE = "save it as `CSV UTF-8` or `.xlsx`"

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"PAR1", "a Parquet file"),
    (b"{\\rtf", "an RTF document"),
)
#: First member of the workbooks of Excel.
_CONTENT_TYPES = b"[Content_Types].xml"
_EMPTY_ZIP = b"PK\x05\x06"
_MARKUP = (b"<html", b"<!doctype html", b"<table", b"<head", b"<body", b"<meta", b"<style")


def kind_of(stream: BinaryIO, table: str) -> Kind:
    """Return what the beginning of a file shows it to be.

    Raises:
        InvalidInput: The file is of a kind that is not read.
    """
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"PK\x03\x04"):
        return "workbook" if _is_workbook(stream, table) else "zip"
    if head.startswith(_EMPTY_ZIP):
        return "zip"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return "workbook"
    if _utf16(head):
        return "utf-16"
    if received := _unreadable(head, text[:200].lower()):
        raise InvalidInput(
            f"Expected CSV, JSON Lines or an Excel workbook. Received: {received}; {ADVICE}",
            field=(table,),
        )
    return "json" if _is_json_text(text) else "plain"


def _unreadable(head: bytes, text: bytes) -> str | None:
    """Return the name of a kind of file that is not read; `None` for others."""
    if text.startswith(_MARKUP) or (text.startswith(b"<?xml") and b"<html" in text):
        return "an HTML page"
    if text.startswith(b"<?xml"):
        return "an XML document"
    known = next((name for magic, name in _SIGNATURES if head.startswith(magic)), None)
    return known or ("a binary file" if b"\0\0\0" in head else None)


def unpack(
    stream: BinaryIO,
    files: ExitStack,
    *,
    max_bytes: int,
    table: str,
    with_images: bool = False,
) -> BinaryIO:
    """Return a file as plain text; the file itself if it is already.

    Args:
        stream: The file.
        files: Holds temporary files, which last until it is closed.
        max_bytes: Largest plain text.
        table: The request field of the file, which an error names.
        with_images: True if a ZIP archive may contain images beside the table.

    Raises:
        InvalidInput: The file is of a kind that is not read, is broken, or unpacks to more than
            `max_bytes`.
    """
    for _ in range(MAX_DEPTH):
        kind = kind_of(stream, table)
        if kind == "plain":
            return stream
        plain = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        size = 0
        for piece in _pieces(stream, kind, table, with_images=with_images):
            size += len(piece)
            if size > max_bytes:
                raise InvalidInput(
                    f"Expected a table of at most {max_bytes} bytes. "
                    "Received: a file that unpacks to more",
                    field=(table,),
                )
            plain.write(piece)
        stream = plain
    raise InvalidInput(
        f"Expected a table. Received: one packed more than {MAX_DEPTH} times", field=(table,)
    )


def _pieces(stream: BinaryIO, kind: Kind, table: str, *, with_images: bool) -> Iterator[bytes]:
    stream.seek(0)
    if kind == "gzip":
        return _decompressed(stream, table)
    if kind == "zip":
        return _only_member(stream, table, with_images=with_images)
    if kind == "workbook":
        return csv_lines(stream, table)
    if kind == "utf-16":
        return _transcoded(stream)
    return json_lines(stream, table)


def _decompressed(stream: BinaryIO, table: str) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(
            f"Expected a complete gzip file. Received: {error}", field=(table,)
        ) from error


def _only_member(stream: BinaryIO, table: str, *, with_images: bool) -> Iterator[bytes]:
    most = MAX_MEMBERS_WITH_IMAGES if with_images else MAX_MEMBERS
    archive = open_archive(stream, most, f"`{table}`", field=(table,))
    members = [one for one in archive.infolist() if not is_litter(one)]
    if with_images:
        members = [one for one in members if not (one.is_dir() or _is_image(one.filename))]
    if len(members) != 1:
        names = ", ".join(one.filename for one in members)[:300] or "none"
        raise InvalidInput(
            f"Expected one table in the ZIP archive. Received: {len(members)} files: {names}",
            field=(table,),
        )
    try:
        with archive.open(members[0]) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except BROKEN as error:
        raise InvalidInput(
            f"Expected a ZIP archive that can be read. Received: {error}", field=(table,)
        ) from error


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _transcoded(stream: BinaryIO) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(_utf16(stream.read(HEAD_BYTES)) or "utf-16")("replace")
    stream.seek(0)
    # The mark tells the spreadsheet that reads the results that they are UTF-8.
    yield codecs.BOM_UTF8
    while piece := stream.read(PIECE_BYTES):
        yield decoder.decode(piece).encode(errors="replace")
    yield decoder.decode(b"", final=True).encode(errors="replace")


def _utf16(head: bytes) -> str | None:
    """Return the codec of a file in UTF-16, with or without a byte order mark."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = head[:200]
    half = len(sample) // 2
    for codec, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
        if half > 1 and zeros.count(0) > 0.7 * half and b"\0\0" not in sample:
            return codec
    return None


def _is_json_text(text: bytes) -> bool:
    """Return True for JSON that is not an object a line: arrays, and objects over many lines."""
    if text.startswith(b"["):
        return text[1:].lstrip()[:1] in (b"{", b"]", b"")
    first = text.split(b"\n", 1)[0].strip()
    return first == b"{" or (
        first.startswith(b"{") and first.endswith((b",", b"{", b"[")) and not first.endswith(b"},")
    )


def _is_workbook(stream: BinaryIO, table: str) -> bool:
    try:
        with zipfile.ZipFile(stream) as archive:
            names = {*archive.namelist()[:1000]}
    except (*BROKEN, OSError) as error:
        stream.seek(0)
        kind = "an Excel workbook" if _CONTENT_TYPES in stream.read(HEAD_BYTES) else "a ZIP archive"
        raise InvalidInput(
            f"Expected a table that can be read. Received: {kind} that is cut or broken ({error}); "
            f"{ADVICE}",
            field=(table,),
        ) from error
    return is_workbook(names)


def is_workbook(names: Iterable[str]) -> bool:
    """Return True if the members of a ZIP archive are those of a workbook."""
    return bool({*names} & {"xl/workbook.xml", "xl/workbook.bin", "content.xml"})
