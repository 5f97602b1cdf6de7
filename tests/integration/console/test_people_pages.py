"""Accounts and the audit log in the browser of an admin."""

from collections.abc import Callable

from playwright.sync_api import expect
from sqlalchemy import text, update

from shared.db.models import AuditEntry, Role, User
from tests.integration.console.conftest import ORIGIN, Visitor
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api

Visit = Callable[..., Visitor]
TEXTS = {
    "en": {
        "taken": "This username is taken. Choose another one.",
        "last": "This is the last active admin. Make somebody else an admin first.",
        "typed": "Type the username to delete the account.",
        "deleted": "The account is deleted.",
        "none": "No entry matches.",
        "tampered": "The log was tampered with: its hashes do not match.",
    },
    "fr": {
        "taken": "Cet identifiant est déjà pris. Choisissez-en un autre.",
        "last": "C’est le dernier administrateur actif. Nommez d’abord un autre administrateur.",
        "typed": "Saisissez l’identifiant pour supprimer le compte.",
        "deleted": "Le compte est supprimé.",
        "none": "Aucune entrée ne correspond.",
        "tampered": "Le journal a été altéré : ses empreintes ne concordent pas.",
    },
}


def user_of(api: Api, username: str) -> User:
    with api.unit_of_work.reading() as session:
        return session.query(User).filter_by(username=username).one()


def test_account_is_created_and_its_holder_chooses_the_password(visit: Visit) -> None:
    admin, guest = visit(Role.ADMIN), visit(signed_in=False)
    page = admin.open("/people")
    page.locator("#username").fill(guest.user.username)
    page.locator("form[action$=people] .primary").click()
    expect(page.locator("#username-mistake")).to_have_text(TEXTS[admin.language]["taken"])
    admin.check("people-mistake")
    admin.complaints.clear()  # The browser reports the refusal.
    page.locator("#username").fill("ada")
    page.locator("#role").select_option("operator")
    page.locator("form[action$=people] .primary").click()
    code = page.locator("pre").inner_text()
    admin.check("one-time-code")
    guest.open("/password")
    guest.page.locator("#code").fill(code)
    guest.page.locator("#new_password").fill("a new long secret")
    guest.page.locator("form button").click()
    guest.page.locator("#username").fill("ada")
    guest.page.locator("#password").fill("a new long secret")
    guest.page.locator(".primary").click()
    expect(guest.page.locator(".who")).to_have_text("ada")
    assert user_of(admin.api, "ada").role == "operator"


def test_account_is_found_changed_signed_out_and_disabled(visit: Visit) -> None:
    admin, other = visit(Role.ADMIN), visit(account={"username": "grace"})
    page = admin.open("/people")
    page.keyboard.press("/")
    page.keyboard.type("RAC")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="grace").click()
    page.wait_for_url("**/people/grace")
    admin.check("person")
    page.locator("#role").select_option("operator")
    page.locator("#trusted").select_option("yes")
    page.locator("form[action$=change] [type=submit]").first.click()
    expect(page.get_by_role("status")).to_be_visible()
    changed = user_of(admin.api, "grace")
    assert (changed.role, changed.labels_trusted) == ("operator", True)
    page.locator("form[action$='/sessions/end'] button").click()
    other.open("/try")
    expect(other.page.locator("#username")).to_be_visible()
    page.locator("form[action$=change] .danger").click()
    expect(page.locator(".badge.failed")).to_be_visible()
    admin.check("person-disabled")
    assert not user_of(admin.api, "grace").is_active


def test_account_is_deleted_only_after_its_name_is_typed(visit: Visit) -> None:
    admin, other = visit(Role.ADMIN), visit(signed_in=False, account={"username": "linus"})
    admin.api.add(make_job(other.user), make_job(other.user))
    texts = TEXTS[admin.language]
    page = admin.open("/people/linus")
    expect(page.locator("#delete")).to_contain_text("2 produ")
    page.locator("#typed").fill("linux")
    page.locator("#delete .danger").click()
    expect(page.locator("#typed-mistake")).to_have_text(texts["typed"])
    admin.complaints.clear()  # The browser reports the refusal.
    page.locator("#typed").fill("linus")
    page.locator("#delete .danger").click()
    expect(page.get_by_role("status")).to_have_text(texts["deleted"])
    admin.open(f"/people/{admin.user.username}")
    page.locator("form[action$=change] .danger").click()
    expect(page.get_by_role("alert")).to_have_text(texts["last"])
    admin.complaints.clear()  # The browser reports the refusal.


def test_audit_log_is_filtered_and_verified(visit: Visit) -> None:
    admin = visit(Role.ADMIN)
    texts = TEXTS[admin.language]
    page = admin.open("/audit-log")
    expect(page.locator("tbody tr")).to_have_count(1)
    with admin.api.unit_of_work() as work:
        admin.api.services.sessions.browsers.start(work.session, admin.user, ORIGIN)
    page.locator("#action").fill("session.start")
    page.locator("form[role=search] [type=submit]").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    admin.check("audit-log")
    page.locator("#first").fill("2020-01-01")
    page.locator("#last").fill("2020-01-02")
    page.locator("form[role=search] [type=submit]").click()
    expect(page.locator(".empty")).to_have_text(texts["none"])
    admin.open("/audit-log?verify=1")
    expect(page.get_by_role("status")).to_contain_text("2 ")
    with page.expect_download() as download:
        page.locator("a[href$=export]").click()
    assert download.value.path().read_text().count("\n") == 2
    with admin.api.unit_of_work() as work:
        work.session.execute(text("DROP TRIGGER audit_log_no_update"))
        work.session.execute(update(AuditEntry).values(actor="somebody else"))
    admin.open("/audit-log?verify=1")
    expect(page.get_by_role("alert")).to_have_text(texts["tampered"])
    admin.check("audit-log-tampered")
