"""A gateway on a port, and Debian's Chromium that opens its pages.

Where `CI` is set, a missing browser is an error; elsewhere these tests are skipped.
`SCREENSHOTS=folder` keeps a screenshot of each state, at two widths, light and dark.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, Request, expect, sync_playwright

from gateway.identity.principal import Origin
from shared.db.models import Role, User
from tests.unit.gateway.conftest import (
    Api,
    api,
    broker,
    catalog_settings,
    cheap_hashes,
    hashed,
    migrated,
    rate_settings,
    release_settings,
    settings,
    sign_in_limit_settings,
    unit_of_work,
)

__all__ = [
    "api",
    "broker",
    "catalog_settings",
    "cheap_hashes",
    "hashed",
    "migrated",
    "rate_settings",
    "release_settings",
    "settings",
    "sign_in_limit_settings",
    "unit_of_work",
]

LANGUAGES = ("en", "fr")
WIDTHS = (1280, 390)
#: The first one that is installed. The one without windows takes a quarter less processor time.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: Features of Chromium that no test sees and that take a third of its processor time: web pages as
#: buttons of each window, and processes that are started before a page needs them.
UNUSED_FEATURES = (
    "InitialWebUI",
    "PreloadTopChromeWebUI",
    "SpareRendererForSitePerProcess",
    "WebUIAppMenuButton",
    "WebUIBackForwardButton",
    "WebUIHomeButton",
    "WebUILocationBar",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "WebUIOmniboxPopup",
    "WebUIPinnedToolbarActions",
    "WebUIReloadButton",
)
#: Features that Playwright disables. Chromium reads only the last list, so they are repeated.
DISABLED_BY_PLAYWRIGHT = (
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)
#: Longest time for which a test waits for a page, in milliseconds.
PATIENCE = 60_000
#: Rules of axe: WCAG 2.2 at level AA, and best practices. The dark scheme differs only in colours.
AXE: dict[Literal["light", "dark"], list[str]] = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "dark": ["color-contrast", "link-in-text-block"],
}
expect.set_options(timeout=PATIENCE)
ORIGIN = Origin(address="127.0.0.1", agent="Chromium", trace_id="0" * 32)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Return the browser, started once for each file.

    Its library runs an event loop in this thread, which other tests must not find.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("Expected the Debian package `chromium`. Received: no such program")
        pytest.skip("needs the Debian package `chromium`")
    with sync_playwright() as playwright:
        # Without a sandbox, which root may not make; only pages of this gateway are opened. A
        # process that emulates a graphics card would only take processor time.
        disabled = ",".join((*DISABLED_BY_PLAYWRIGHT, *UNUSED_FEATURES))
        options = ["--no-sandbox", "--disable-gpu", f"--disable-features={disabled}"]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture
def address(api: Api) -> Iterator[str]:
    """Serve the gateway on a free port and return its address."""
    config = uvicorn.Config(api.client.app, port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    server.force_exit = True
    thread.join()


@dataclass
class Visitor:
    """A person at a browser, whose complaints are collected."""

    api: Api
    address: str
    context: BrowserContext
    page: Page
    user: User
    language: str
    #: Errors and warnings of the browser's console, refused policies included.
    complaints: list[str] = field(default_factory=list)
    #: Hosts that were asked for anything.
    hosts: set[str] = field(default_factory=set)

    def open(self, path: str = "") -> Page:
        """Open a page of the console."""
        self.page.goto(f"{self.address}/console{path}")
        return self.page

    def check(self, name: str) -> None:
        """Check the present page for accessibility, and keep screenshots if they are wanted."""
        for scheme, rules in AXE.items():
            self.page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                self.page.set_viewport_size({"width": width, "height": 800})
                self._keep(f"{name}-{self.language}-{width}-{scheme}")
                assert not self._is_wider_than_the_window(), f"{name} scrolls sideways at {width}"
            if scheme == "light" or self.language == LANGUAGES[0]:
                # In the dark only colours are checked, which are those of both languages.
                self._require_accessible(rules)
        self.page.set_viewport_size({"width": 320, "height": 800})
        assert not self._is_wider_than_the_window(), f"{name} scrolls sideways at 320"
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 800})

    def _require_accessible(self, rules: list[str]) -> None:
        found = Axe().run(self.page, options={"runOnly": rules, "resultTypes": ["violations"]})
        assert found.violations_count == 0, found.generate_report()

    def _is_wider_than_the_window(self) -> bool:
        root = self.page.locator("html")
        return bool(root.evaluate("root => root.scrollWidth > root.clientWidth"))

    def _keep(self, name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """Return each language of the console in turn."""
    return str(request.param)


@pytest.fixture
def visit(
    api: Api, address: str, chromium: Chromium, language: str
) -> Iterator[Callable[..., Visitor]]:
    """Return a function that opens a browser, signed in unless `signed_in` is false.

    At the end every page must have been free of complaints, and no other host asked.
    """
    made: list[Visitor] = []

    def start(role: Role = Role.CLIENT, *, signed_in: bool = True, **options: Any) -> Visitor:
        user = api.user(role, **options.pop("account", {}))
        context = chromium.new_context(locale=f"{language}-FR", **options)
        context.set_default_timeout(PATIENCE)
        if signed_in:
            with api.unit_of_work() as work:
                cookie = api.services.sessions.browsers.start(work.session, user, ORIGIN)
            context.add_cookies([{"name": "rayon_session", "value": cookie, "url": address}])
        visitor = Visitor(api, address, context, context.new_page(), user, language)
        visitor.page.on("console", lambda it: visitor.complaints.append(f"{it.type}: {it.text}"))
        visitor.page.on("pageerror", lambda it: visitor.complaints.append(str(it)))
        context.on("request", lambda it: visitor.hosts.add(_host(it)))
        made.append(visitor)
        return visitor

    yield start
    for visitor in made:
        visitor.context.close()
    assert [one for visitor in made for one in visitor.complaints] == []
    assert {host for visitor in made for host in visitor.hosts} <= {urlsplit(address).netloc, ""}


def _host(request: Request) -> str:
    parts = urlsplit(request.url)
    return "" if parts.scheme in ("blob", "data") else parts.netloc
