"""The account in the browser: its language, its sessions, its API keys and its password."""

from collections.abc import Callable

from playwright.sync_api import expect

from gateway.identity import api_keys
from shared.db.models import Role
from tests.integration.console.conftest import ORIGIN, Visitor
from tests.unit.gateway.conftest import PASSWORD

Visit = Callable[..., Visitor]
TEXTS = {
    "en": {
        "key": "Copy the key now: it is not shown again.",
        "none": "No API key yet.",
        "wrong": "The current password is wrong.",
        "common": "This password is too common or too close to the username.",
        "set": "The password is set. Sign in with it.",
        "home": "Hello, ",
    },
    "fr": {
        "key": "Copiez la clé maintenant : elle ne sera plus affichée.",
        "none": "Aucune clé d’API pour le moment.",
        "wrong": "Le mot de passe actuel est incorrect.",
        "common": "Ce mot de passe est trop courant ou trop proche de l’identifiant.",
        "set": "Le mot de passe est enregistré. Connectez-vous avec lui.",
        "home": "Bonjour, ",
    },
}


def test_key_is_created_shown_once_and_revoked(visit: Visit) -> None:
    visitor = visit(Role.OPERATOR)
    texts = TEXTS[visitor.language]
    page = visitor.open("/account")
    expect(page.locator("#keys .empty")).to_have_text(texts["none"])
    visitor.check("account-empty")
    page.locator("#name").fill("Robot")
    page.locator("#keys form[action$=api-keys] [type=submit]").click()
    expect(page.get_by_role("status")).to_have_text(texts["key"])
    key = page.locator("pre").inner_text()
    scopes = api_keys.principal_of(visitor.api.unit_of_work, key).scopes
    assert sorted(scopes or ()) == ["jobs:read", "jobs:write"]
    visitor.check("api-key")
    page.locator("main .button").click()
    expect(page.locator("#keys tbody tr")).to_have_count(1)
    assert key not in page.content()
    visitor.check("account-full")
    page.locator("#keys .danger").click()
    expect(page.locator("#keys .empty")).to_be_visible()


def test_other_sessions_are_ended(visit: Visit) -> None:
    visitor = visit()
    with visitor.api.unit_of_work() as work:
        for _ in range(2):
            visitor.api.services.sessions.browsers.start(work.session, visitor.user, ORIGIN)
    page = visitor.open("/account")
    rows = page.locator("section[aria-labelledby=sessions-title] tbody tr")
    expect(rows).to_have_count(3)
    page.locator("form[action$='/end'] button").first.click()
    expect(rows).to_have_count(2)
    page.locator("form[action$=end-others] button").click()
    expect(rows).to_have_count(1)


def test_language_of_the_account_comes_before_that_of_the_browser(visit: Visit) -> None:
    visitor = visit()
    other = {"en": "fr", "fr": "en"}[visitor.language]
    page = visitor.open("/account")
    page.locator("#language").select_option(other)
    page.locator("form[action$=language] [type=submit]").click()
    expect(page.locator("html")).to_have_attribute("lang", other)
    visitor.open()
    expect(page.get_by_role("heading", level=1)).to_contain_text(TEXTS[other]["home"])


def test_password_is_changed_after_mistakes(visit: Visit, hashed: str) -> None:
    visitor = visit(account={"password_hash": hashed})
    texts = TEXTS[visitor.language]
    page = visitor.open("/account")

    def change(current: str, new: str) -> None:
        page.locator("#current_password").fill(current)
        page.locator("#new_password").fill(new)
        page.locator("form[action$=password] [type=submit]").click()

    change("not the password", "a new long secret")
    expect(page.locator("#current_password-mistake")).to_have_text(texts["wrong"])
    change(PASSWORD, "password1")
    expect(page.locator("#new_password-mistake")).to_have_text(texts["common"])
    change(PASSWORD, "a new long secret")
    expect(page.get_by_role("status")).to_have_text(texts["set"])
    visitor.complaints.clear()  # The browser reports the two refusals.


def test_home_greets_and_style_page_shows_every_control(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        TEXTS[visitor.language]["home"] + visitor.user.username
    )
    visitor.check("home-empty")
    visitor.open("/style")
    visitor.check("style")
