"""A browser without scripts: the test client with a cookie, and forms of the own pages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from gateway.identity.principal import Origin
from shared.db.models import Role, User
from tests.unit.gateway.conftest import Api

HTML = "text/html,application/xhtml+xml"
ORIGIN = Origin(address="192.0.2.1", agent="Firefox", trace_id="0" * 32)


@dataclass
class Browser:
    """A browser that is signed in."""

    api: Api
    user: User
    language: str = "en"

    def __post_init__(self) -> None:
        with self.api.unit_of_work() as work:
            self.cookie = self.api.services.sessions.browsers.start(work.session, self.user, ORIGIN)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {
            "Accept": HTML,
            "Accept-Language": self.language,
            "Cookie": f"rayon_session={self.cookie}",
            "Sec-Fetch-Site": "same-origin",
        }

    def get(self, path: str) -> httpx2.Response:
        """Open a page; redirects are not followed."""
        return self.api.client.get(path, headers=self.headers, follow_redirects=False)

    def post(self, path: str, **kwargs: Any) -> httpx2.Response:
        """Send a form."""
        return self.api.client.post(path, headers=self.headers, follow_redirects=False, **kwargs)


@pytest.fixture
def open_browser(api: Api) -> Callable[..., Browser]:
    """Return a function that signs a new user in."""

    def sign_in(role: Role = Role.CLIENT, **changes: Any) -> Browser:
        language = changes.pop("browser_language", "en")
        return Browser(api, api.user(role, **changes), language)

    return sign_in


@pytest.fixture
def browser(open_browser: Callable[..., Browser]) -> Browser:
    """Return the browser of a client."""
    return open_browser()
