"""Sign in, be refused, choose a password, and come back to the same place."""

from collections.abc import Callable
from datetime import timedelta

from playwright.sync_api import expect

from gateway.identity import one_time_codes
from tests.integration.console.conftest import Visitor
from tests.unit.gateway.conftest import PASSWORD

Visit = Callable[..., Visitor]
TEXTS = {
    "en": {
        "submit": "Sign in",
        "wrong": "The username or the password is wrong.",
        "out": "Sign out",
        "heading": "Try a product",
        "set": "The password is set. Sign in with it.",
    },
    "fr": {
        "submit": "Se connecter",
        "wrong": "L’identifiant ou le mot de passe est incorrect.",
        "out": "Se déconnecter",
        "heading": "Essayer un produit",
        "set": "Le mot de passe est enregistré. Connectez-vous avec lui.",
    },
}


def sign_in(visitor: Visitor, password: str) -> None:
    page = visitor.page
    page.locator("#username").fill(visitor.user.username)
    page.locator("#password").fill(password)
    page.get_by_role("button", name=TEXTS[visitor.language]["submit"]).click()


def test_person_who_signs_in_arrives_where_they_wanted_to_go(visit: Visit, hashed: str) -> None:
    visitor = visit(signed_in=False, account={"password_hash": hashed})
    texts = TEXTS[visitor.language]
    page = visitor.open("/try")
    expect(page).to_have_url(f"{visitor.address}/console/sign-in?next=%2Fconsole%2Ftry")
    visitor.check("sign-in")
    sign_in(visitor, "not the password")
    expect(page.get_by_role("alert")).to_have_text(texts["wrong"])
    expect(page.locator("#username")).to_have_value(visitor.user.username)
    visitor.check("sign-in-wrong")
    # The browser reports the refused sign-in.
    assert [one for one in visitor.complaints if "401" not in one] == []
    visitor.complaints.clear()
    sign_in(visitor, PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text(texts["heading"])
    page.get_by_role("button", name=texts["out"]).click()
    expect(page.locator("#username")).to_be_visible()
    visitor.open("/try")
    expect(page.locator("#username")).to_be_visible()


def test_person_chooses_a_password_with_a_one_time_code(visit: Visit) -> None:
    visitor = visit(signed_in=False)
    with visitor.api.unit_of_work() as work:
        code, _ = one_time_codes.issue(work.session, visitor.user, timedelta(hours=1))
    page = visitor.open("/password")
    visitor.check("password")
    page.locator("#code").fill(code)
    page.locator("#new_password").fill("a new long secret")
    page.locator("form button").click()
    expect(page.get_by_role("status")).to_have_text(TEXTS[visitor.language]["set"])
    sign_in(visitor, "a new long secret")
    expect(page.locator(".who")).to_have_text(visitor.user.username)
