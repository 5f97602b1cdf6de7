"""Access rules of all routes in one table. Routes that are missing from it are refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.identity.principal import Principal
from gateway.identity.scopes import Scope
from shared.db.models import Role
from shared.errors import Forbidden


class Keys(StrEnum):
    """Access of API keys to a route that has no scope: none, or any key."""

    NONE = "none"
    ANY = "any"


@dataclass(frozen=True)
class Rule:
    """The roles and API keys that a route admits.

    Attributes:
        roles: Roles of signed-in people and of the owners of API keys. Empty for a public route.
        keys: The scope that an API key needs, or `Keys.ANY` or `Keys.NONE`.
    """

    roles: frozenset[Role]
    keys: Scope | Keys

    @property
    def is_public(self) -> bool:
        """True if the route needs no sign-in."""
        return not self.roles


_PUBLIC = Rule(frozenset(), Keys.ANY)
_EVERYONE = frozenset(Role)
_OPERATORS = frozenset({Role.OPERATOR, Role.ADMIN})
_ADMINS = frozenset({Role.ADMIN})

#: Rules by method and path.
RULES: Mapping[tuple[str, str], Rule] = {
    ("GET", "/livez"): _PUBLIC,
    ("GET", "/readyz"): _PUBLIC,
    ("POST", "/v1/token"): _PUBLIC,
    ("POST", "/v1/token/refresh"): _PUBLIC,
    ("POST", "/v1/password"): _PUBLIC,
    ("GET", "/v1/single-sign-on"): _PUBLIC,
    ("GET", "/v1/single-sign-on/callback"): _PUBLIC,
    ("DELETE", "/v1/token"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/v1/me"): Rule(_EVERYONE, Keys.ANY),
    ("PATCH", "/v1/me"): Rule(_EVERYONE, Keys.NONE),
    ("PUT", "/v1/me/password"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/v1/sessions"): Rule(_EVERYONE, Keys.NONE),
    ("DELETE", "/v1/sessions"): Rule(_EVERYONE, Keys.NONE),
    ("DELETE", "/v1/sessions/{session_id}"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/v1/api-keys"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/v1/api-keys"): Rule(_EVERYONE, Keys.NONE),
    ("DELETE", "/v1/api-keys/{key_id}"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/v1/users"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/v1/users"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/v1/users/{username}"): Rule(_ADMINS, Keys.NONE),
    ("PATCH", "/v1/users/{username}"): Rule(_ADMINS, Keys.NONE),
    ("DELETE", "/v1/users/{username}"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/v1/users/{username}/reset"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/v1/users/{username}/sessions"): Rule(_ADMINS, Keys.NONE),
    ("DELETE", "/v1/users/{username}/sessions"): Rule(_ADMINS, Keys.NONE),
    ("DELETE", "/v1/users/{username}/sessions/{session_id}"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/v1/users/{username}/api-keys"): Rule(_ADMINS, Keys.NONE),
    ("DELETE", "/v1/users/{username}/api-keys"): Rule(_ADMINS, Keys.NONE),
    ("DELETE", "/v1/users/{username}/api-keys/{key_id}"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/v1/audit-log"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/v1/audit-log/export"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/v1/audit-log/verification"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/v1/jobs"): Rule(_EVERYONE, Scope.JOBS_READ),
    ("POST", "/v1/jobs"): Rule(_EVERYONE, Scope.JOBS_WRITE),
    ("GET", "/v1/jobs/{job_id}"): Rule(_EVERYONE, Scope.JOBS_READ),
    ("GET", "/v1/jobs/{job_id}/image"): Rule(_EVERYONE, Scope.JOBS_READ),
    ("GET", "/v1/jobs/{job_id}/explanation"): Rule(_EVERYONE, Scope.JOBS_READ),
    ("DELETE", "/v1/jobs/{job_id}"): Rule(_EVERYONE, Scope.JOBS_WRITE),
    ("PUT", "/v1/jobs/{job_id}/label"): Rule(_EVERYONE, Scope.JOBS_WRITE),
    ("POST", "/v1/uploads"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("GET", "/v1/uploads/{upload_id}"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("PATCH", "/v1/uploads/{upload_id}"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("DELETE", "/v1/uploads/{upload_id}"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("GET", "/v1/catalogs"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("POST", "/v1/catalogs"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("GET", "/v1/catalogs/{catalog_id}"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("DELETE", "/v1/catalogs/{catalog_id}"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("POST", "/v1/catalogs/{catalog_id}/retry"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("POST", "/v1/catalogs/{catalog_id}/resume"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("GET", "/v1/catalogs/{catalog_id}/sample"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("POST", "/v1/catalogs/{catalog_id}/check"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("POST", "/v1/catalogs/{catalog_id}/start"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("GET", "/v1/catalogs/{catalog_id}/results"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("GET", "/v1/catalogs/{catalog_id}/errors"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("GET", "/v1/catalogs/{catalog_id}/rows"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("PATCH", "/v1/catalogs/{catalog_id}/rows"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("POST", "/v1/catalogs/{catalog_id}/images"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("POST", "/v1/catalogs/{catalog_id}/repair"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("POST", "/v1/catalogs/{catalog_id}/labels"): Rule(_EVERYONE, Scope.CATALOGS_WRITE),
    ("GET", "/v1/catalogs/{catalog_id}/answers"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("GET", "/v1/catalogs/{catalog_id}/answers/categories"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("GET", "/v1/catalogs/{catalog_id}/precision"): Rule(_EVERYONE, Scope.CATALOGS_READ),
    ("GET", "/v1/categories"): Rule(_EVERYONE, Scope.MODELS_READ),
    ("GET", "/v1/releases"): Rule(_EVERYONE, Scope.MODELS_READ),
    ("GET", "/v1/releases/{version}"): Rule(_EVERYONE, Scope.MODELS_READ),
    ("POST", "/v1/releases/{version}/promote"): Rule(_ADMINS, Scope.MODELS_WRITE),
    ("POST", "/v1/releases/rollback"): Rule(_ADMINS, Scope.MODELS_WRITE),
    ("GET", "/v1/datasets"): Rule(_OPERATORS, Scope.DATASETS_READ),
    ("POST", "/v1/datasets"): Rule(_OPERATORS, Scope.DATASETS_WRITE),
    ("GET", "/v1/datasets/{name}"): Rule(_OPERATORS, Scope.DATASETS_READ),
    ("DELETE", "/v1/datasets/{name}"): Rule(_OPERATORS, Scope.DATASETS_WRITE),
    ("POST", "/v1/datasets/{name}/rows"): Rule(_OPERATORS, Scope.DATASETS_WRITE),
    ("GET", "/v1/training-runs"): Rule(_OPERATORS, Scope.TRAINING_READ),
    ("POST", "/v1/training-runs"): Rule(_OPERATORS, Scope.TRAINING_WRITE),
    ("GET", "/v1/training-runs/{run_id}"): Rule(_OPERATORS, Scope.TRAINING_READ),
    ("DELETE", "/v1/training-runs/{run_id}"): Rule(_OPERATORS, Scope.TRAINING_WRITE),
    ("GET", "/v1/queues"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("GET", "/v1/reviews"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("GET", "/v1/reviews/{review_id}/image"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("GET", "/v1/drift-windows"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("GET", "/v1/drift-alerts"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("POST", "/v1/drift-alerts"): Rule(_OPERATORS, Scope.OPERATIONS_WRITE),
    ("GET", "/v1/drift-alerts/{alert_id}"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("POST", "/v1/drift-alerts/{alert_id}/train"): Rule(_OPERATORS, Scope.OPERATIONS_WRITE),
    ("POST", "/v1/drift-alerts/{alert_id}/dismiss"): Rule(_OPERATORS, Scope.OPERATIONS_WRITE),
    ("GET", "/v1/reports"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("POST", "/v1/reports"): Rule(_OPERATORS, Scope.OPERATIONS_WRITE),
    ("GET", "/v1/reports/{month}"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("GET", "/v1/performance"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("GET", "/v1/dead-letters"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("GET", "/v1/dead-letters/groups"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("POST", "/v1/dead-letters/replay"): Rule(_OPERATORS, Scope.OPERATIONS_WRITE),
    ("POST", "/v1/dead-letters/discard"): Rule(_OPERATORS, Scope.OPERATIONS_WRITE),
    ("GET", "/v1/dead-letters/{letter_id}"): Rule(_OPERATORS, Scope.OPERATIONS_READ),
    ("POST", "/v1/dead-letters/{letter_id}/replay"): Rule(_OPERATORS, Scope.OPERATIONS_WRITE),
    ("DELETE", "/v1/dead-letters/{letter_id}"): Rule(_OPERATORS, Scope.OPERATIONS_WRITE),
    # The console. Browsers that are signed in have no scopes, and programs have no cookies.
    ("GET", "/console"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/static/{digest}/{name}"): _PUBLIC,
    ("GET", "/console/sign-in"): _PUBLIC,
    ("POST", "/console/sign-in"): _PUBLIC,
    ("GET", "/console/password"): _PUBLIC,
    ("POST", "/console/password"): _PUBLIC,
    ("POST", "/console/sign-out"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/style"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/try"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/try"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/jobs/{job_id}"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/jobs/{job_id}/image"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/jobs/{job_id}/label"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs/{catalog_id}"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/cancel"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/resume"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs/{catalog_id}/files"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs/{catalog_id}/answers"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/answers/label"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs/{catalog_id}/labels"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/labels"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs/{catalog_id}/results"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs/{catalog_id}/errors"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/uploads"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/uploads/{upload_id}"): Rule(_EVERYONE, Keys.NONE),
    ("PATCH", "/console/uploads/{upload_id}"): Rule(_EVERYONE, Keys.NONE),
    ("DELETE", "/console/uploads/{upload_id}"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/import"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/import"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/import/{catalog_id}"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/import/{catalog_id}/check"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/import/{catalog_id}/start"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/import/{catalog_id}/discard"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs/{catalog_id}/repair"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/repair"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/repair/fill"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/repair/images"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/repair/run"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/catalogs/{catalog_id}/failed"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/catalogs/{catalog_id}/failed/retry"): Rule(_EVERYONE, Keys.NONE),
    ("GET", "/console/people"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/console/people"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/console/people/{username}"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/console/people/{username}/change"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/console/people/{username}/reset"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/console/people/{username}/sessions/end"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/console/people/{username}/sessions/{session_id}/end"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/console/people/{username}/api-keys/revoke"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/console/people/{username}/api-keys/{key_id}/revoke"): Rule(_ADMINS, Keys.NONE),
    ("POST", "/console/people/{username}/delete"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/console/audit-log"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/console/audit-log/export"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/console/queues"): Rule(_OPERATORS, Keys.NONE),
    ("GET", "/console/dead-letters"): Rule(_OPERATORS, Keys.NONE),
    ("POST", "/console/dead-letters/group"): Rule(_OPERATORS, Keys.NONE),
    ("POST", "/console/dead-letters/selected"): Rule(_OPERATORS, Keys.NONE),
    ("GET", "/console/dead-letters/{letter_id}"): Rule(_OPERATORS, Keys.NONE),
    ("POST", "/console/dead-letters/{letter_id}"): Rule(_OPERATORS, Keys.NONE),
    ("GET", "/console/models"): Rule(_OPERATORS, Keys.NONE),
    ("GET", "/console/models/runs/{run_id}"): Rule(_OPERATORS, Keys.NONE),
    ("POST", "/console/models/runs/{run_id}/cancel"): Rule(_OPERATORS, Keys.NONE),
    ("POST", "/console/models/promote"): Rule(_ADMINS, Keys.NONE),
    ("GET", "/console/alerts"): Rule(_OPERATORS, Keys.NONE),
    ("POST", "/console/alerts/{alert_id}"): Rule(_OPERATORS, Keys.NONE),
    ("GET", "/console/reports/{month}"): Rule(_OPERATORS, Keys.NONE),
    ("GET", "/console/account"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/account/language"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/account/password"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/account/sessions/end-others"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/account/sessions/{session_id}/end"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/account/api-keys"): Rule(_EVERYONE, Keys.NONE),
    ("POST", "/console/account/api-keys/{key_id}/revoke"): Rule(_EVERYONE, Keys.NONE),
}


def require(principal: Principal, method: str, path: str) -> None:
    """Check that a principal may call a route.

    Raises:
        Forbidden: The role or the scopes of the key do not suffice, or `RULES` lacks the route.
    """
    rule = RULES.get((method, path))
    if rule is None:
        raise Forbidden(
            f"Expected an access rule for {method} {path}. Received: none, so it is refused"
        )
    if rule.roles and principal.role not in rule.roles:
        names = " or ".join(f"`{role}`" for role in Role if role in rule.roles)
        raise Forbidden(f"Expected the role {names}. Received: `{principal.role}`")
    if principal.scopes is None or rule.keys is Keys.ANY:
        return
    if rule.keys is Keys.NONE:
        raise Forbidden("Expected a signed-in person. Received: an API key")
    if rule.keys not in principal.scopes:
        scopes = ", ".join(f"`{scope}`" for scope in sorted(principal.scopes)) or "none"
        raise Forbidden(f"Expected an API key with the scope `{rule.keys}`. Received: {scopes}")


def needs_principal(method: str, path: str) -> bool:
    """Return True if a route admits only signed-in people and API keys."""
    rule = RULES.get((method, path))
    return rule is not None and not rule.is_public


def scopes_of(role: Role) -> frozenset[Scope]:
    """Return the scopes that the API keys of a role may have."""
    return frozenset(
        rule.keys for rule in RULES.values() if isinstance(rule.keys, Scope) and role in rule.roles
    )
