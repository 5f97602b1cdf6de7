"""The form with which a catalog is uploaded: its fields, their description and their check."""

import json
from collections.abc import Callable
from pathlib import PurePath
from typing import BinaryIO, cast, get_args

from starlette.datastructures import FormData, UploadFile

from gateway.catalogs.products import stated_columns
from gateway.catalogs.upload import Upload
from gateway.jobs.schemas import ModelName
from shared.errors import InvalidInput

#: Fields that name files which were sent in pieces.
PRODUCTS_UPLOAD, IMAGES_UPLOAD = "products_upload", "images_upload"
FIELDS = (
    "products",
    "columns",
    "images",
    "model",
    "release",
    "dry_run",
    "draft",
    PRODUCTS_UPLOAD,
    IMAGES_UPLOAD,
)
_FILE = {"type": "string", "format": "binary"}
#: OpenAPI description of the form, which FastAPI does not parse itself.
UPLOAD_FORM = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "products": {
                            **_FILE,
                            "description": "Table of products: CSV with a header (delimiter, "
                            "quotes and encoding are detected), JSON Lines, an array of JSON "
                            "objects, or an Excel workbook, whose first sheet with cells is read. "
                            "May be compressed by gzip or ZIP. At most 1,000,000 rows by default.",
                        },
                        "columns": {
                            "type": "string",
                            "description": "JSON object with the column of `designation`, "
                            "`description` or `image`, where its name is not known: "
                            '`{"designation": "Mon libellé"}`; `null` for no column.',
                        },
                        "images": {
                            **_FILE,
                            "description": "ZIP archive of the images that the rows name, each of "
                            "at most 10 MiB by default. With `fusion`, rows without an image are "
                            "classified by text only. All files together: at most 8 GiB by "
                            "default.",
                        },
                        "model": {
                            "type": "string",
                            "enum": list(get_args(ModelName)),
                            "description": "Model to classify with. Default: `fusion`.",
                        },
                        "release": {
                            "type": "string",
                            "description": "Alias or version of the release. Default: `champion`.",
                        },
                        "dry_run": {
                            "type": "boolean",
                            "description": "True to check the rows without classifying them. "
                            "Default: false.",
                        },
                        "draft": {
                            "type": "boolean",
                            "description": "True for a dry run whose files are kept for a day by "
                            "default, so that it can be checked with other columns "
                            "(`POST /v1/catalogs/{catalog_id}/check`) and started "
                            "(`POST /v1/catalogs/{catalog_id}/start`) without sending them again. "
                            "Columns that are not recognised do not refuse the upload: the check "
                            "fails. Without `columns`, those that you stated last for a table "
                            "with the same header are used. Default: false.",
                        },
                        PRODUCTS_UPLOAD: {
                            "type": "string",
                            "description": "ID of an upload in pieces (`POST /v1/uploads`) instead "
                            "of `products`, one of which is required.",
                        },
                        IMAGES_UPLOAD: {
                            "type": "string",
                            "description": "ID of an upload in pieces instead of `images`.",
                        },
                    },
                }
            }
        }
    }
}

RESUME_FIELDS = ("images",)
#: OpenAPI description of the form with which a catalog is resumed.
RESUME_FORM = {
    "requestBody": {
        "required": False,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "images": {
                            **_FILE,
                            "description": "The ZIP archive of the catalog again, if it had one.",
                        }
                    },
                }
            }
        },
    }
}


#: Returns the name and content of a complete file that was sent in pieces.
OpenPart = Callable[[str], tuple[str, BinaryIO]]


def upload_of(form: FormData, open_part: OpenPart) -> Upload:
    """Return the upload that a form contains.

    Args:
        form: The form.
        open_part: Opens a file that was sent in pieces, by its ID.

    Raises:
        InvalidInput: A field is missing or has a wrong value.
        NotFound: The user has no such upload in pieces.
        Conflict: An upload in pieces is not complete.
    """
    name, products = _products_of(form, open_part)
    images = images_of(form)
    if images is None and (upload_id := _text(form, IMAGES_UPLOAD)):
        _, images = open_part(upload_id)
    model = _text(form, "model") or "fusion"
    if model not in get_args(ModelName):
        raise InvalidInput(
            f"Expected one of {', '.join(get_args(ModelName))}. Received: {model[:40]!r}",
            field=("model",),
        )
    dry_run, is_draft = _is_true(form, "dry_run"), _is_true(form, "draft")
    return Upload(
        name=name,
        products=products,
        images=images,
        model=cast(ModelName, model),
        release=_text(form, "release") or "champion",
        dry_run=dry_run or is_draft,
        columns=_columns(_text(form, "columns")),
        is_draft=is_draft,
    )


def parts_of(form: FormData) -> list[str]:
    """Return the IDs of the uploads in pieces that a form names."""
    return [
        upload_id for name in (PRODUCTS_UPLOAD, IMAGES_UPLOAD) if (upload_id := _text(form, name))
    ]


def _products_of(form: FormData, open_part: OpenPart) -> tuple[str, BinaryIO]:
    products = form.get("products")
    if isinstance(products, UploadFile):
        return PurePath(products.filename or "products").name, products.file
    if products is None and (upload_id := _text(form, PRODUCTS_UPLOAD)):
        return open_part(upload_id)
    received = "none" if products is None else "text"
    raise InvalidInput(f"Expected a file as `products`. Received: {received}", field=("products",))


def images_of(form: FormData) -> BinaryIO | None:
    """Return the archive that a form contains, if there is one. Raises `InvalidInput`."""
    images = form.get("images")
    if images is not None and not isinstance(images, UploadFile):
        raise InvalidInput("Expected a file as `images`. Received: text", field=("images",))
    # A browser sends an empty field if no file was chosen.
    return images.file if images is not None and images.filename else None


def _text(form: FormData, name: str) -> str:
    value = form.get(name) or ""
    if not isinstance(value, str):
        raise InvalidInput(f"Expected text as `{name}`. Received: a file", field=(name,))
    return value


def _is_true(form: FormData, name: str) -> bool:
    value = _text(form, name) or "false"
    if value.lower() not in ("true", "false", "1", "0"):
        raise InvalidInput(f"Expected `true` or `false`. Received: {value[:40]!r}", field=(name,))
    return value.lower() in ("true", "1")


def _columns(text: str) -> dict[str, str | None]:
    if not text:
        return {}
    try:
        return stated_columns(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "Expected a JSON object. Received: other text", field=("columns",)
        ) from error
