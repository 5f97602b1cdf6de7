"""Names of the categories of a catalog's release; codes while the release cannot be read."""

from collections.abc import Mapping
from typing import Any

from gateway.api.services import Services
from shared.categories import Category
from shared.errors import NotFound, ReleaseUnloadable, Unavailable


def known_categories(services: Services, release: str) -> Mapping[int, Category]:
    """Return the categories of a release by code; none while it cannot be read."""
    try:
        categories = services.releases.manifest(release).category_set.categories
    except (NotFound, ReleaseUnloadable, Unavailable):
        return {}
    return {one.code: one for one in categories}


def named(categories: Mapping[int, Category], code: int) -> dict[str, Any]:
    """Return name and path of a category; its code for an unknown one."""
    one = categories.get(code)
    return {
        "category": one.name if one else str(code),
        "category_path": list(one.path) if one else [],
    }
