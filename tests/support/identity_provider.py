"""A small OpenID provider: it signs everybody in who is sent to it, as whom the test says."""

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
    """Claims of the provider, and faults that tests can inject."""

    address: str
    #: Claims that are added to the ID token, or replace its own.
    claims: dict[str, Any] = field(default_factory=dict)
    #: Refuses with this error instead of sending a code.
    refusal: str | None = None
    #: Signs with a key that it does not publish.
    is_forged: bool = False
    #: Leaves the ID token out.
    is_silent: bool = False
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    another_key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    #: What each code stands for.
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def id_token(self, asked: dict[str, str]) -> str:
        """Say who somebody is."""
        moment = int(time.time())
        claims = {
            "iss": self.address,
            "aud": CLIENT_ID,
            "sub": "248289761001",
            "iat": moment,
            "exp": moment + 60,
            "nonce": asked["nonce"],
            "preferred_username": "jane",
            **self.claims,
        }
        key = self.another_key if self.is_forged else self.key
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, key)

    def app(self) -> FastAPI:
        """The provider's pages."""
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
            asked = dict(request.query_params)
            assert asked["response_type"] == "code"
            assert asked["client_id"] == CLIENT_ID
            assert asked["code_challenge_method"] == "S256"
            if self.refusal:
                said = {"error": self.refusal, "state": asked["state"]}
            else:
                code = f"code-{len(self.codes)}"
                self.codes[code] = asked
                said = {"code": code, "state": asked["state"]}
            return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(said)}")

        @app.post("/token")
        def token(
            request: Request,
            code: Annotated[str, Form()],
            redirect_uri: Annotated[str, Form()],
            code_verifier: Annotated[str, Form()],
        ) -> dict[str, Any]:
            # Valid once.
            asked = self.codes.pop(code, None)
            digest = urlsafe_b64encode(sha256(code_verifier.encode()).digest()).rstrip(b"=")
            if (
                asked is None
                or asked["code_challenge"] != digest.decode()
                or asked["redirect_uri"] != redirect_uri
                or not request.headers.get("authorization", "").startswith("Basic ")
            ):
                raise HTTPException(400, "invalid_grant")
            answer = {"access_token": "unused", "token_type": "Bearer", "expires_in": 60}
            return answer if self.is_silent else {**answer, "id_token": self.id_token(asked)}

        return app


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Serve one on a free port."""
    port = free_port()
    provider = IdentityProvider(f"http://127.0.0.1:{port}")
    server = uvicorn.Server(uvicorn.Config(provider.app(), port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, 20, "the identity provider serves")
    yield provider
    server.should_exit = True
    thread.join()
