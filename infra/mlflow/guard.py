"""Guard of the registry: known routes only, and only with the token."""

import hmac

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HEALTH = "/health"
API = "/api/2.0/mlflow"
#: Method and path of the calls of `shared.inference.releases` and `trainer.pipeline.tracking`.
ROUTES = frozenset(
    {
        ("GET", "/api/3.0/mlflow/server-info"),
        ("GET", f"{API}/experiments/get-by-name"),
        ("POST", f"{API}/experiments/create"),
        ("GET", f"{API}/runs/get"),
        ("POST", f"{API}/runs/create"),
        ("POST", f"{API}/runs/update"),
        ("POST", f"{API}/runs/log-metric"),
        ("POST", f"{API}/runs/log-batch"),
        ("GET", f"{API}/registered-models/get"),
        ("POST", f"{API}/registered-models/create"),
        ("GET", f"{API}/registered-models/alias"),
        ("POST", f"{API}/registered-models/alias"),
        ("DELETE", f"{API}/registered-models/alias"),
        ("GET", f"{API}/model-versions/get"),
        ("GET", f"{API}/model-versions/search"),
        ("GET", f"{API}/model-versions/get-download-uri"),
        ("POST", f"{API}/model-versions/create"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts"),
    }
)
#: Paths of files; their methods are `FILE_METHODS`.
FILES = "/api/2.0/mlflow-artifacts/artifacts/"
FILE_METHODS = frozenset({"GET", "PUT"})


class Guard:
    """Application that passes on only known routes, and only with the token.

    Args:
        app: Application behind it.
        token: What clients send as `Authorization: Bearer`.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        if not token:
            raise ValueError("Expected a token. Received: an empty text")
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it before its body is read."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        method, path = scope["method"], scope["path"]
        if path == HEALTH and method in ("GET", "HEAD"):
            return None
        if not self._has_token(scope):
            return PlainTextResponse(
                "Expected the token of the registry", 401, {"WWW-Authenticate": "Bearer"}
            )
        return None if is_served(method, path) else PlainTextResponse("Not served", 404)

    def _has_token(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


def is_served(method: str, path: str) -> bool:
    """Return True for the calls of Rayon's clients."""
    return (method, path) in ROUTES or (method in FILE_METHODS and path.startswith(FILES))
