"""Rows and manifests with sensible defaults; a test sets only the fields that it is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.categories import Category
from shared.db.models import Catalog, DriftAlert, Job, User, new_catalog_id, new_id, now
from shared.inference.manifest import ImagePart, ReleaseManifest, TextPart

#: Category codes of every manifest of `make_manifest`.
CODES = (10, 2583)


def make_manifest(name: str = "release-1", **changes: Any) -> ReleaseManifest:
    """Return the manifest of a release of two categories."""
    fields: dict[str, Any] = {
        "name": name,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "categories": (
            Category(code=10, name="Livres"),
            Category(code=2583, name="Piscine et accessoires"),
        ),
        "text": TextPart(preparation="text-1", max_tokens=64),
        "image": ImagePart(preparation="image-1", size=299),
        "figures": {"fusion_f1_plain": 0.8},
        "trained_on": "rows of a test",
    }
    return ReleaseManifest(**{**fields, **changes})


def make_user(username: str = "ada", **changes: Any) -> User:
    """Return an active client who cannot sign in: no password has this hash."""
    fields: dict[str, Any] = {"id": new_id(), "username": username, "password_hash": "none"}
    return User(**{**fields, **changes})


def make_job(user: User, **changes: Any) -> Job:
    """Return a queued text job that was published a minute ago and whose lease is over."""
    moment = now() - timedelta(minutes=1)
    fields: dict[str, Any] = {
        "id": new_id(),
        "user_id": user.id,
        "trace_id": "0" * 31 + "1",
        "lane": "interactive",
        "model": "fusion",
        "release": "1",
        "designation": "Piscine gonflable",
        "description": "",
        "image_uri": None,
        "wants_text": True,
        "wants_image": False,
        "status": "queued",
        "created_at": moment,
        "published_at": moment,
        "leased_until": moment + timedelta(seconds=30),
        "attempts": 0,
    }
    return Job(**{**fields, **changes})


def make_catalog(user: User, **changes: Any) -> Catalog:
    """Return a finished catalog of three rows."""
    fields: dict[str, Any] = {
        "id": new_catalog_id(),
        "user_id": user.id,
        "trace_id": "0" * 31 + "1",
        "name": "products.csv",
        "model": "fusion",
        "release": "1",
        "dry_run": False,
        "fingerprint": "0" * 64,
        "size": 100,
        "has_images": False,
        "status": "finished",
        "rows": 3,
        "fed": 3,
        "fed_until": 3,
        "report": {"columns": ["designation"], "delimiter": ",", "has_bom": False},
    }
    return Catalog(**{**fields, **changes})


def make_drift_alert(kind: str, **changes: Any) -> DriftAlert:
    """Return an open alert of the monitor."""
    fields = {"source": "monitor", "raised_by": "test", "fingerprint": new_id()}
    rest = {"summary": "It moved", "details": {}, "steps": []}
    return DriftAlert(**{"kind": kind, **fields, **rest, **changes})
