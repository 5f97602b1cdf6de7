"""Read a product from the body of a request: a form, or JSON with the image in base64."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast, get_args

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect

from gateway.jobs.schemas import ModelName
from gateway.jobs.submission import Product
from gateway.settings import GatewaySettings
from gateway.web.fields import require_known, require_no_query, require_single
from gateway.web.forms import FORM_TYPES, MAX_TEXT_BYTES, broken_off, content_type, read_form
from gateway.web.texts import UNSTORABLE, is_storable
from gateway.web.validation_messages import kind_of
from shared.errors import ImageUnreadable, InvalidInput, TooLarge
from shared.image_formats import EMPTY, NAMES
from shared.readable import readable

JSON_TYPE = "application/json"
FIELDS = ("designation", "description", "image", "model", "release")
#: Largest number of values in JSON. Each takes more memory than its bytes; commas and brackets
#: within texts are counted too.
MAX_JSON_VALUES = 300_000
#: Largest number of fields, known and unknown, that are looked at one by one.
MAX_JSON_FIELDS = 100
_TEXT = {"type": "string", "default": ""}
_DESCRIPTIONS = {
    "designation": "Title of the product, at most 50,000 readable characters by default.",
    "description": "Description, text or HTML, at most 50,000 readable characters by default.",
    "image": f"Image of the product ({NAMES}), at most 10 MiB by default.",
    "model": "Model to classify with: `text`, `image`, or `fusion` of both.",
    "release": "Alias or version of the release.",
}


def _schema(image: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a body, given that of its image."""
    kinds: dict[str, dict[str, Any]] = {
        "designation": _TEXT,
        "description": _TEXT,
        "image": image,
        "model": {"type": "string", "enum": list(get_args(ModelName)), "default": "fusion"},
        "release": {"type": "string", "default": "champion"},
    }
    fields = {name: {**kinds[name], "description": _DESCRIPTIONS[name]} for name in FIELDS}
    return {"type": "object", "properties": fields, "additionalProperties": False}


#: OpenAPI description of the body, which FastAPI does not parse itself.
PRODUCT_BODY = {
    "requestBody": {
        "content": {
            FORM_TYPES[0]: {"schema": _schema({"type": "string", "format": "binary"})},
            FORM_TYPES[1]: {"schema": _schema({"type": "string", "maxLength": 0})},
            JSON_TYPE: {
                "schema": _schema({"type": ["string", "null"], "contentEncoding": "base64"})
            },
        }
    }
}


@asynccontextmanager
async def sent_body(request: Request) -> AsyncIterator[FormData | bytes]:
    """Read the body: a form, whose files are deleted when the block ends, or the bytes of JSON.

    Raises:
        InvalidInput: The body is no form, or the client disconnected before its end.
        RequestValidationError: A field of a form is unknown.
    """
    if content_type(request) == JSON_TYPE:
        require_no_query(request.query_params)
        try:
            # `request.body` would keep it for as long as the request lasts.
            content = b"".join([part async for part in request.stream()])
        except ClientDisconnect as error:
            raise broken_off() from error
        yield content
        return
    async with read_form(request, FIELDS, types=(*FORM_TYPES, JSON_TYPE)) as form:
        yield form


async def read_body(request: Request) -> AsyncIterator[FormData | bytes]:
    """Read the body as a dependency of a route; its files are deleted after the response."""
    async with sent_body(request) as body:
        yield body


def may_have_image(body: FormData | bytes) -> bool:
    """Return True if a body seems to have an image, as far as it shows without parsing."""
    return b'"image"' in body if isinstance(body, bytes) else bool(body.get("image"))


def product_of(body: FormData | bytes, settings: GatewaySettings) -> Product:
    """Return the product of a body.

    Raises:
        InvalidInput: The body or a field does not have the expected form.
        RequestValidationError: A field is unknown.
        TooLarge: A text or the image exceeds its limit.
    """
    if isinstance(body, bytes):
        fields = _json_fields(body)
        image = _decoded(fields.get("image", ""), settings.max_image_bytes)
    else:
        fields = {name: _form_text(body, name) for name in FIELDS if name != "image"}
        image = _uploaded(body.get("image"), settings.max_image_bytes)
    model = fields.get("model") or "fusion"
    if model not in get_args(ModelName):
        raise InvalidInput(
            f"Expected one of {', '.join(get_args(ModelName))}. Received: {model[:40]!r}",
            field=("model",),
        )
    return Product(
        designation=_text(fields, "designation", settings.max_text_characters),
        description=_text(fields, "description", settings.max_text_characters),
        image=image,
        model=cast(ModelName, model),
        release=fields.get("release") or "champion",
    )


def _form_text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if not isinstance(value, str):
        raise InvalidInput(f"Expected text as `{name}`. Received: a file", field=(name,))
    return value


def _uploaded(sent: UploadFile | str | None, largest: int) -> bytes:
    if not sent:
        return b""
    if isinstance(sent, str):
        raise InvalidInput("Expected a file as `image`. Received: text", field=("image",))
    content = sent.file.read(largest + 1)
    _require_size(len(content), largest)
    if sent.filename and not content:
        # A browser sends a field without a file with an empty name.
        raise ImageUnreadable(EMPTY, field=("image",))
    return content


def _json_fields(body: bytes) -> dict[str, str]:
    """Return the fields of a JSON object that are not null."""
    sent = _json_object(body)
    if len(sent) > MAX_JSON_FIELDS:
        raise InvalidInput(f"Expected at most {MAX_JSON_FIELDS} fields. Received: {len(sent)}")
    if not all(is_storable(name) for name, _ in sent):
        raise InvalidInput(UNSTORABLE)
    names = [name for name, _ in sent]
    require_known(names, FIELDS)
    require_single(names)
    fields = {name: value for name, value in sent if value is not None}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise InvalidInput(
                f"Expected text as `{name}`. Received: {kind_of(value)}", field=(name,)
            )
        if not is_storable(value):
            raise InvalidInput(UNSTORABLE, field=(name,))
    return fields


@dataclass(frozen=True)
class _Object:
    """The names and values of a JSON object, in which a name may occur twice."""

    pairs: list[tuple[str, Any]]


def _json_object(body: bytes) -> list[tuple[str, Any]]:
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise TooLarge(
            f"Expected a JSON object of at most {MAX_JSON_VALUES} values. Received: more"
        )
    try:
        found = json.loads(body, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        place = (
            f"other text, from character {error.pos} on"
            if isinstance(error, json.JSONDecodeError)
            else "other bytes"
        )
        raise InvalidInput(f"Expected JSON. Received: {place}") from error
    if not isinstance(found, _Object):
        raise InvalidInput(f"Expected a JSON object. Received: {kind_of(found)}")
    return found.pairs


def _decoded(text: str, largest: int) -> bytes:
    """Return the content of base64, which may have line breaks or be a `data:` address."""
    head, mark, rest = text.partition(";base64,")
    try:
        plain = (rest if mark and head.startswith("data:") else text).encode("ascii")
        # Without `split`, which would make an object of each character between spaces.
        plain = plain.translate(None, b" \t\r\n")
        _require_size(len(plain) // 4 * 3 - plain[-2:].count(b"="), largest)
        return base64.b64decode(plain, validate=True)
    except ValueError as error:
        raise InvalidInput(
            "Expected a file in base64 as `image`. Received: other text", field=("image",)
        ) from error


def _require_size(size: int, largest: int) -> None:
    if size > largest:
        raise TooLarge(
            f"Expected an image of at most {largest} bytes. Received: more", field=("image",)
        )


def _text(fields: dict[str, str], name: str, longest: int) -> str:
    text = fields.get(name, "")
    if len(text) > longest:
        _require_length(name, text, longest)
    return text


def _require_length(name: str, text: str, longest: int) -> None:
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise TooLarge(
            f"Expected at most {MAX_TEXT_BYTES} bytes as `{name}`. Received: more", field=(name,)
        )
    if len(readable(text)) > longest:
        raise InvalidInput(
            f"Expected at most {longest} readable characters in `{name}`. "
            f"Received: {len(readable(text))}",
            field=(name,),
        )
