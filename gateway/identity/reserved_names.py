"""Usernames that nobody may register, because they would be taken for Rayon itself.

A name is compared by how it looks: without regard to case, to Unicode's compatibility forms, to
separators, and to characters that look alike (Unicode Technical Standard 39, section 4). Existing
accounts keep their names.
"""

import unicodedata
from functools import cache

#: Names of roles, of Rayon's programs and of those around it, and common names of the powerful.
RESERVED = (
    *("admin", "administrator", "client", "operator", "reviewer", "root", "superuser", "sysadmin"),
    *("anonymous", "everyone", "guest", "me", "nobody", "null", "self", "somebody", "undefined"),
    *("account", "api", "bucket", "feeder", "gateway", "migrate", "monitor", "rayon", "release"),
    *("scheduler", "service", "system", "trainer", "worker", "fusion", "image", "text"),
    *("worker-fusion", "worker-image", "worker-text", "single sign-on", "sso", "unknown"),
    *("alertmanager", "celery", "grafana", "mlflow", "objects", "postgres", "postgresql"),
    *("prometheus", "proxy", "redis", "helpdesk", "hostmaster", "info", "noreply", "postmaster"),
    *("security", "support", "webmaster"),
)
#: Accounts whose jobs were kept are renamed to this prefix and their id.
RESERVED_PREFIX = "deleted-"
_SEPARATORS = str.maketrans(dict.fromkeys("._- ", "-"))


def is_reserved(username: str) -> bool:
    """Return True if a name is reserved or looks like a reserved one."""
    looks = _skeleton(username)
    return looks.replace("-", "") in _reserved() or looks.startswith(_skeleton(RESERVED_PREFIX))


@cache
def _reserved() -> frozenset[str]:
    return frozenset(_skeleton(name).replace("-", "") for name in RESERVED)


def _skeleton(name: str) -> str:
    """Return a text that is the same for all names that look the same."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(map(_look, folded)).translate(_SEPARATORS)


@cache
def _look(character: str) -> str:
    """Return what stands for a character and all that look like it in either case."""
    alike, following = set[str](), {character}
    while following:
        alike |= following
        cased = {form for one in following for form in (one.lower(), one.upper())}
        found = cased.union(*map(_lookalikes, cased))
        following = found - alike
    # The longest first, so that `m` becomes `rn`, and not the other way round.
    return min((one for one in alike if one.isascii()), key=_order, default=character)


def _order(text: str) -> tuple[int, str]:
    return -len(text), text


def _lookalikes(text: str) -> set[str]:
    # The table takes 7 MiB, and few processes name accounts.
    from confusable_homoglyphs.confusables import confusables_data

    return {one["c"] for one in confusables_data.get(text, ()) if one["c"].isascii()}
