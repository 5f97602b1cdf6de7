"""A small OpenID provider that signs in every visitor with the claims that a test sets."""

import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Form, HTTPException, Request
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.servers import free_port, until

CLIENT_ID, CLIENT_SECRET = "rayon", "a secret of client and provider"


@dataclass
class IdentityProvider:
    """The provider: its claims, and faults that a test can inject."""

    address: str
    #: Claims that extend or replace the default claims of the ID token.
    claims: dict[str, Any] = field(default_factory=dict)
    #: Error that is returned instead of an authorization code.
    refusal: str | None = None
    #: If set, the ID token is signed with a key that is not published.
    is_forged: bool = False
    #: If set, the response contains no ID token.
    omits_id_token: bool = False
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    another_key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    #: Query of the authorization request, by code.
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def id_token(self, query: dict[str, str]) -> str:
        """Return the signed ID token for an authorization request."""
        moment = int(time.time())
        claims = {
            "iss": self.address,
            "aud": CLIENT_ID,
            "sub": "248289761001",
            "iat": moment,
            "exp": moment + 60,
            "nonce": query["nonce"],
            "preferred_username": "jane",
            **self.claims,
        }
        key = self.another_key if self.is_forged else self.key
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, key)

    def app(self) -> FastAPI:
        """Return the web application of the provider."""
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def configuration() -> dict[str, Any]:
            return {
                "issuer": self.address,
                "authorization_endpoint": f"{self.address}/authorize",
                "token_endpoint": f"{self.address}/token",
                "jwks_uri": f"{self.address}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            }

        @app.get("/keys")
        def keys() -> dict[str, Any]:
            return {"keys": [self.key.as_dict(private=False)]}

        @app.get("/authorize")
        def authorize(request: Request) -> RedirectResponse:
            query = dict(request.query_params)
            assert query["response_type"] == "code"
            assert query["client_id"] == CLIENT_ID
            assert query["code_challenge_method"] == "S256"
            if self.refusal:
                result = {"error": self.refusal, "state": query["state"]}
            else:
                code = f"code-{len(self.codes)}"
                self.codes[code] = query
                result = {"code": code, "state": query["state"]}
            return RedirectResponse(f"{query['redirect_uri']}?{urlencode(result)}")

        @app.post("/token")
        def token(
            request: Request,
            code: Annotated[str, Form()],
            redirect_uri: Annotated[str, Form()],
            code_verifier: Annotated[str, Form()],
        ) -> dict[str, Any]:
            # A code is valid once.
            query = self.codes.pop(code, None)
            digest = urlsafe_b64encode(sha256(code_verifier.encode()).digest()).rstrip(b"=")
            if (
                query is None
                or query["code_challenge"] != digest.decode()
                or query["redirect_uri"] != redirect_uri
                or not request.headers.get("authorization", "").startswith("Basic ")
            ):
                raise HTTPException(400, "invalid_grant")
            answer = {"access_token": "unused", "token_type": "Bearer", "expires_in": 60}
            return answer if self.omits_id_token else {**answer, "id_token": self.id_token(query)}

        return app


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Run a provider on a free port."""
    port = free_port()
    provider = IdentityProvider(f"http://127.0.0.1:{port}")
    server = uvicorn.Server(uvicorn.Config(provider.app(), port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, 20, "the identity provider has started")
    yield provider
    server.should_exit = True
    thread.join()
