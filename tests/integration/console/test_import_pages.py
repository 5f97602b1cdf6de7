"""Import a catalog in the browser: its files, columns and check, its start, and only by keys."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, Request, expect

from gateway.settings import CatalogSettings
from shared.db.models import Catalog
from tests.integration.console.conftest import Visitor
from tests.support.servers import until
from tests.unit.gateway.catalogs.catalog_system import Feeders, archive, jobs_of, table
from tests.unit.gateway.conftest import feeder

__all__ = ["feeder"]

Visit = Callable[..., Visitor]
PATIENCE_SECONDS = 60.0
ROWS = [
    [f"Piscine n° {number}", "<p>Avec pompe</p>", f"{number}.jpg", f"A-{number}"]
    for number in range(1, 8)
]
HEADER = "Designation,Description,Image,SKU"
SHOP = table(
    *ROWS, ["", "", "", "A-8"], ["", "", "", "A-9"], ["x" * 1_500, "", "", "A-10"], header=HEADER
)
FOREIGN = table(*ROWS, header="Bezeichnung,Inhalt,Datei,SKU")
#: An archive of three pieces.
LARGE = archive(noise=random.Random(1).randbytes(10_000_000))
ARCHIVE = archive(**{str(number): b"an image" for number in (1, 2, 3, 99)})
TEXTS = {
    "en": {
        "upload": "Upload and check",
        "busy": "The rows are being checked…",
        "found": "7 rows can be classified.",
        "start": "Start and classify 7 rows",
        "check": "Check these columns",
        "no_table": "This file is no table. Save it as “CSV UTF-8” or as an Excel workbook.",
        "no_column": "No column is recognised. Choose below which column is which.",
        "nothing": "No row can be classified with these columns.",
        "choose": "Choose the column of the titles, of the descriptions or of the images.",
        "changed": "You have chosen other columns, so the rows are checked with them first.",
        "remembered": "As you chose them for the last table with the same header.",
        "no_text": "Neither a title nor a description nor an image.",
        "give_up": "Give up this import",
        "delete": "Give up and delete the files",
        "cancelled": "The upload is cancelled. Your files are still chosen.",
        "waiting": "The connection was lost. The upload goes on by itself once it is back.",
        "given_up": "The import is given up. Its files are deleted.",
    },
    "fr": {
        "upload": "Envoyer et vérifier",
        "busy": "Les lignes sont en cours de vérification…",
        "found": "7 lignes peuvent être classées.",
        "start": "Lancer le classement de 7 lignes",
        "check": "Vérifier avec ces colonnes",
        "no_table": "Ce fichier n’est pas un tableau. Enregistrez-le au format « CSV UTF-8 » ou "
        "comme classeur Excel.",
        "no_column": "Aucune colonne n’est reconnue. Indiquez ci-dessous à quoi correspondent les "
        "colonnes.",
        "nothing": "Aucune ligne ne peut être classée avec ces colonnes.",
        "choose": "Choisissez la colonne des désignations, des descriptions ou des images.",
        "changed": "Vous avez choisi d’autres colonnes : les lignes sont d’abord vérifiées avec "
        "elles.",
        "remembered": "Comme vous les aviez choisies pour le dernier tableau de même en-tête.",
        "no_text": "Ni désignation, ni description, ni image.",
        "give_up": "Abandonner cet import",
        "delete": "Abandonner et supprimer les fichiers",
        "cancelled": "L’envoi est annulé. Vos fichiers restent choisis.",
        "waiting": "La connexion a été perdue. L’envoi reprendra de lui-même à son retour.",
        "given_up": "L’import est abandonné. Ses fichiers sont supprimés.",
    },
}


@pytest.fixture(scope="session")
def catalog_settings() -> CatalogSettings:
    """Return the default limits."""
    return CatalogSettings()


@contextmanager
def feeding(feeder: Feeders) -> Iterator[None]:
    """Let a feeder run until the block ends."""
    running, stop = feeder(), threading.Event()
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def file(name: str, content: bytes) -> Any:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def upload(visitor: Visitor, products: bytes, images: bytes | None = None) -> Page:
    page = visitor.open("/import")
    page.locator("#products").set_input_files(file("produits.csv", products))
    if images is not None:
        page.locator("#images").set_input_files(file("photos.zip", images))
    page.get_by_role("button", name=TEXTS[visitor.language]["upload"]).click()
    return page


def catalog_of(page: Page) -> str:
    expect(page.locator("#draft")).to_be_visible()
    return page.url.partition("?")[0].rsplit("/", 1)[-1]


def status_of(visitor: Visitor, catalog_id: str) -> tuple[str, bool]:
    catalog = visitor.api.get(Catalog, catalog_id)
    assert catalog is not None
    return catalog.status, catalog.dry_run


def test_catalog_is_imported_with_what_the_check_found(visit: Visit, feeder: Feeders) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    page = visitor.open("/import")
    visitor.check("import-empty")
    upload(visitor, SHOP, ARCHIVE)
    expect(page.locator(".busy")).to_have_text(texts["busy"])
    catalog_id = catalog_of(page)
    visitor.check("import-busy")
    page.evaluate("window.isTheSame = true")
    with feeding(feeder):
        expect(page.locator(".notice.good")).to_have_text(texts["found"])
        assert page.evaluate("window.isTheSame")
        expect(page.locator("#designation")).to_have_value("Designation")
        expect(page.locator(".sample tbody tr")).to_have_count(5)
        rejections = page.locator("section[aria-labelledby=check-title] tbody tr")
        expect(rejections).to_have_count(2)
        expect(rejections.first).to_contain_text(texts["no_text"])
        expect(rejections.first.locator(".figure")).to_have_text("2")
        visitor.check("import-checked")
        with page.expect_download() as download:
            page.locator("a[href$='/errors']").click()
        assert b"A-9" in download.value.path().read_bytes()
        page.get_by_role("button", name=texts["start"]).click()
        page.wait_for_url(f"**/console/catalogs/{catalog_id}")
        assert status_of(visitor, catalog_id) == ("running", False)


@pytest.mark.parametrize(("content", "text"), [(b"%PDF-1.7", "no_table")], ids=["a document"])
def test_file_that_is_no_table_is_explained_and_the_images_stay_chosen(
    visit: Visit, content: bytes, text: str
) -> None:
    visitor = visit()
    page = upload(visitor, content, ARCHIVE)
    expect(page.locator("#products-mistake")).to_have_text(TEXTS[visitor.language][text])
    assert page.evaluate("document.querySelector('#images').files.length") == 1
    visitor.check("import-wrong-file")
    visitor.complaints.clear()  # The browser reports the refusal.


def test_upload_shows_its_share_and_is_cancelled(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    page = visitor.open("/import")
    network = visitor.context.new_cdp_session(page)
    throttle(network, 1_000_000)
    choose_large(page, tmp_path)
    page.get_by_role("button", name=texts["upload"]).click()
    expect(page.locator("[data-percent]")).not_to_have_text(re.compile("^0"))
    visitor.check("import-uploading")
    page.locator("[data-cancel]").click()
    expect(page.locator("[data-said]")).to_have_text(texts["cancelled"])
    expect(page.locator(".upload")).not_to_be_visible()
    visitor.check("import-cancelled")
    assert visitor.api.services.storage.folders(f"parts/{visitor.user.id}") == []
    throttle(network, -1)
    page.get_by_role("button", name=texts["upload"]).click()
    assert status_of(visitor, catalog_of(page)) == ("validating", True)


def test_upload_goes_on_after_a_lost_connection_and_after_a_reload(
    visit: Visit, tmp_path: Path
) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    page = visitor.open("/import")
    # One session: the conditions of several would be in force together.
    network = visitor.context.new_cdp_session(page)
    sent = pieces_of(visitor)
    throttle(network, 300_000)
    choose_large(page, tmp_path)
    page.get_by_role("button", name=texts["upload"]).click()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(sent) < 2:
        assert time.monotonic() < deadline, "the second piece was not sent"
        # Requests of the browser are noted while the page is waited for.
        page.wait_for_timeout(50)
    throttle(network, 300_000, is_offline=True)
    expect(page.locator("[data-said]")).to_have_text(texts["waiting"])
    throttle(network, 300_000)
    expect(page.locator("[data-said]")).not_to_be_visible()
    page.reload()
    throttle(network, -1)
    choose_large(page, tmp_path)
    page.get_by_role("button", name=texts["upload"]).click()
    catalog_id = catalog_of(page)
    stored = visitor.api.services.storage.get(f"catalogs/{catalog_id}/images.zip")
    assert stored == LARGE
    # The first piece was sent once, whatever happened to the others.
    assert sent.count("0") == 1
    assert visitor.api.services.storage.folders(f"parts/{visitor.user.id}") == []
    visitor.complaints.clear()  # The browser reports the lost connection.


def choose_large(page: Page, folder: Path) -> None:
    path = folder / "photos.zip"
    if not path.exists():
        path.write_bytes(LARGE)
    page.locator("#products").set_input_files(file("produits.csv", SHOP))
    page.locator("#images").set_input_files(path)


def throttle(network: CDPSession, bytes_per_second: int, *, is_offline: bool = False) -> None:
    """Limit the upload of the browser, -1 for no limit, or take its connection away."""
    conditions = {
        "offline": is_offline,
        "latency": 0,
        "downloadThroughput": -1,
        "uploadThroughput": bytes_per_second,
    }
    network.send("Network.emulateNetworkConditions", conditions)


def pieces_of(visitor: Visitor) -> list[str]:
    """Return the offsets of all pieces that the browser sends."""
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method == "PATCH":
            sent.append(request.headers["upload-offset"])

    visitor.page.on("request", note)
    return sent


def test_columns_are_chosen_where_none_is_recognised_and_remembered(
    visit: Visit, feeder: Feeders
) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    with feeding(feeder):
        page = upload(visitor, FOREIGN)
        expect(page.locator(".notice.bad")).to_have_text(texts["no_column"])
        visitor.check("import-unrecognised")
        page.get_by_role("button", name=texts["check"]).click()
        expect(page.locator("#mistakes")).to_have_text(texts["choose"])
        page.locator("#designation").select_option("SKU")
        page.locator("#designation").select_option("Bezeichnung")
        page.locator("#description").select_option("Inhalt")
        page.get_by_role("button", name=texts["check"]).click()
        expect(page.locator(".notice.good")).to_have_text(texts["found"])
        page.locator("#image").select_option("Datei")
        page.get_by_role("button", name=texts["start"]).click()
        expect(page.locator(".notice.warn").first).to_have_text(texts["changed"])
        expect(page.locator(".notice.good")).to_have_text(texts["found"])
        page.get_by_role("button", name=texts["start"]).click()
        page.wait_for_url("**/console/catalogs/*")
        upload(visitor, FOREIGN)
        expect(page.locator("#image")).to_have_value("Datei")
        expect(page.locator("#columns .hint").first).to_have_text(texts["remembered"])
    visitor.complaints.clear()  # The browser reports the refusal.


def test_table_with_only_rejected_rows_cannot_be_started(visit: Visit, feeder: Feeders) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    with feeding(feeder):
        page = upload(visitor, table(["", "", "", "1"], header=HEADER))
        expect(page.locator(".notice.bad")).to_have_text(texts["nothing"])
    expect(page.locator("#start")).to_have_count(0)
    visitor.check("import-nothing")


def test_import_is_continued_later_or_given_up(visit: Visit, feeder: Feeders) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    with feeding(feeder):
        page = upload(visitor, SHOP)
        expect(page.locator("#start")).to_be_visible()
    catalog_id = catalog_of(page)
    visitor.open("/import")
    visitor.check("import-drafts")
    page.locator("tbody a").click()
    page.get_by_text(texts["give_up"]).click()
    page.get_by_role("button", name=texts["delete"]).click()
    expect(page.get_by_role("status")).to_have_text(texts["given_up"])
    expect(page.locator("tbody a")).to_have_count(0)
    visitor.open(f"/import/{catalog_id}")
    assert page.url.endswith(f"/console/catalogs/{catalog_id}")


def test_catalog_is_imported_with_keys_alone(visit: Visit, feeder: Feeders) -> None:
    visitor = visit()
    page = visitor.open()
    # Choosers are intercepted from the first listener on, and the browser is not waited for.
    page.on("filechooser", lambda chooser: chooser.set_files(file("produits.csv", SHOP)))
    page.keyboard.press("g")
    page.keyboard.press("i")
    expect(page.locator("#products")).to_be_visible()
    _tab_to(page, "products")
    page.keyboard.press("Enter")
    expect(page.locator("#products")).to_have_value(re.compile(r"produits\.csv$"))
    _tab_to_submit(page)
    page.keyboard.press("Enter")
    with feeding(feeder):
        expect(page.locator("#start")).to_be_visible()
        _tab_to(page, "image")
        page.keyboard.press("Home")
        _tab_to(page, "start")
        page.keyboard.press("Enter")
        expect(page.locator(".notice.warn").first).to_be_visible()
        expect(page.locator("#start")).to_be_visible()
        _tab_to(page, "start")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/catalogs/*")
        catalog_id = page.url.rsplit("/", 1)[-1]
        until(lambda: len(jobs_of(visitor.api, catalog_id)) == 7, 60, "all rows are fed")
    assert [job.wants_image for job in jobs_of(visitor.api, catalog_id)] == [False] * 7


def test_catalog_is_imported_without_scripts(visit: Visit, feeder: Feeders) -> None:
    visitor = visit(java_script_enabled=False)
    texts = TEXTS[visitor.language]
    with feeding(feeder):
        page = upload(visitor, SHOP, ARCHIVE)
        # The page asks again by itself.
        expect(page.locator(".notice.good")).to_have_text(texts["found"])
        page.get_by_role("button", name=texts["start"]).click()
        page.wait_for_url("**/console/catalogs/*")


def test_import_of_somebody_else_is_not_found(visit: Visit, feeder: Feeders) -> None:
    visitor, other = visit(), visit()
    with feeding(feeder):
        page = upload(other, SHOP)
        expect(page.locator("#start")).to_be_visible()
    response = visitor.page.goto(page.url)
    assert response is not None
    assert response.status == 404
    visitor.complaints.clear()  # The browser reports the status 404.


def _tab_to(page: Page, element_id: str) -> None:
    for _ in range(60):
        if page.evaluate("document.activeElement.id") == element_id:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no key leads to {element_id}")


def _tab_to_submit(page: Page) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#import [type=submit]')"):
            return
    raise AssertionError("no key leads to the button")
