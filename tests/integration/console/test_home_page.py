"""The first page: what needs a person, a new catalog, and catalogs that run, live."""

from collections.abc import Callable
from dataclasses import replace

from playwright.sync_api import expect
from sqlalchemy import update

from gateway.settings import ProcessSettings
from shared.broker import Heartbeat, Worker
from shared.db.models import AlertStatus, Catalog, DeadLetter, DriftAlert, Review, Role, new_id, now
from shared.progress import LoopProgress
from tests.integration.console.conftest import Visitor
from tests.integration.console.test_import_pages import SHOP, feeding, file
from tests.support.factories import make_job
from tests.unit.gateway.catalogs.catalog_system import Feeders, answer_all
from tests.unit.gateway.conftest import feeder

__all__ = ["feeder"]

Visit = Callable[..., Visitor]
TEXTS = {
    "en": {
        "empty": "No catalog yet. Choose a table above, or try a single product.",
        "well": "All is well: every process advances, and nothing waits for you.",
        "down": "The queue does not answer. Jobs are accepted and wait in the database.",
        "loose": "Pack the images into one ZIP archive.",
        "matters": [
            "1 process does not advance",
            "1 queue without a worker",
            "2 dead letters",
            "1 alert asks whether to train",
            "1 open alert",
            "1 answer waits for a review",
        ],
    },
    "fr": {
        "empty": "Aucun catalogue pour le moment. Choisissez un tableau ci-dessus ou essayez un "
        "seul produit.",
        "well": "Tout va bien : chaque processus avance et rien ne vous attend.",
        "down": "La file d’attente ne répond pas. Les demandes sont acceptées et attendent dans la "
        "base de données.",
        "loose": "Rassemblez les images dans une archive ZIP.",
        "matters": [
            "1 processus n’avance pas",
            "1 file d’attente sans worker",
            "2 messages en échec",
            "1 alerte demande s’il faut entraîner",
            "1 alerte ouverte",
            "1 réponse attend une relecture",
        ],
    },
}
QUEUES = ("text.interactive", "text.catalog", "image.interactive", "image.catalog")
FUSION = ("fusion.interactive", "fusion.catalog")
PATHS = ["/queues", "/queues", "/dead-letters", "/alerts", "/alerts"]


def all_well(visitor: Visitor) -> None:
    """Let every process and every queue be served."""
    loop = LoopProgress("consume", "ok", 1.0, None, 0, None, "", "", 0, "")
    visitor.api.broker.beats = [
        Heartbeat(f"{name}@host:{number}", name, 1.0, (loop,))
        for number, name in enumerate(ProcessSettings().expected_processes)
    ]
    visitor.api.broker.present = [
        Worker(
            name="all@host:1",
            queues=(*QUEUES, *FUSION),
            releases=("1",),
            running=0,
            handled=1,
            seconds_since_consumed=1.0,
            seconds_since_asked=0.1,
        )
    ]


def trouble(visitor: Visitor) -> None:
    """Let something of each kind need a person."""
    broker = visitor.api.broker
    late = LoopProgress("sweep", "late", 99.0, None, 0, None, "", "", 0, "")
    first = broker.beats[0]
    broker.beats[0] = Heartbeat(first.name, first.process, 1.0, (late,))
    served = broker.present[0]
    broker.present = [replace(served, queues=(*QUEUES, FUSION[0]))]
    for _ in range(2):
        visitor.api.add(
            DeadLetter(
                topic="score_text",
                payload={},
                fingerprint=new_id(),
                error="RuntimeError: the model is gone",
                deliveries=8,
                parked_at=now(),
            )
        )
    for status in (AlertStatus.ASKING, AlertStatus.OPEN, AlertStatus.ENDED):
        visitor.api.add(
            DriftAlert(
                fingerprint=new_id(),
                raised_at=now(),
                source="person",
                raised_by="ada",
                kind="text",
                status=status.value,
                summary="Titles are cut",
                details={},
                steps=[],
            )
        )
    job = make_job(visitor.user)
    visitor.api.add(job, Review(job_id=job.id, chosen_at=now(), reason="random", chance=0.1))


def test_operator_sees_what_needs_a_person_and_that_all_is_well(visit: Visit) -> None:
    operator = visit(Role.OPERATOR)
    texts = TEXTS[operator.language]
    all_well(operator)
    page = operator.open()
    expect(page.locator("#attention .notice")).to_have_text(str(texts["well"]))
    operator.check("home-well")
    trouble(operator)
    # The page asks again by itself.
    expect(page.locator(".matters li")).to_have_count(6)
    shown = [text.split("\n")[0].strip() for text in page.locator(".matters li").all_inner_texts()]
    for sentence, wanted in zip(shown, texts["matters"], strict=True):
        assert sentence.startswith(wanted), shown
    links = [one.get_attribute("href") for one in page.locator(".matters a").all()]
    assert links == [f"/console{path}" for path in PATHS]
    operator.check("home-trouble")
    operator.api.broker.is_down = True
    operator.open()
    expect(page.locator(".matters li").first).to_have_text(str(texts["down"]))


def test_client_drops_a_table_and_sees_its_catalog_run(visit: Visit, feeder: Feeders) -> None:
    visitor = visit()
    texts = TEXTS[visitor.language]
    page = visitor.open()
    expect(page.locator("#attention")).to_have_count(0)
    expect(page.locator("#catalogs .empty")).to_have_text(str(texts["empty"]))
    visitor.check("home-empty")
    drop(visitor, {"produits.csv": SHOP})
    page.locator("#import [type=submit]").click()
    with feeding(feeder):
        page.locator("#start").click()
        page.wait_for_url("**/console/catalogs/*")
        catalog_id = page.url.rsplit("/", 1)[-1]
        visitor.open()
        state = page.locator("#catalogs tbody tr .badge")
        expect(state).to_have_class("badge running")
        visitor.check("home-busy")
        # A row that is still queued keeps the catalog running.
        answer_all(visitor.api, catalog_id)
        expect(state).to_have_class("badge finished")
    page.locator("#catalogs tbody a").click()
    page.wait_for_url(f"**/console/catalogs/{catalog_id}")


def test_draft_on_the_first_page_leads_back_to_its_import(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open()
    page.locator("#products").set_input_files(file("produits.csv", SHOP))
    page.locator("#import [type=submit]").click()
    expect(page.locator("#draft")).to_be_visible()
    with visitor.api.unit_of_work() as work:
        work.session.execute(update(Catalog).values(status="finished", rows=1))
    visitor.open()
    page.locator("#catalogs tbody a").click()
    expect(page.locator("#draft")).to_be_visible()


def drop(visitor: Visitor, files: dict[str, bytes]) -> None:
    """Drop files on the form, as from a folder of the desktop."""
    data = visitor.page.evaluate_handle(
        """files => {
            const data = new DataTransfer();
            for (const name in files) data.items.add(new File([files[name]], name));
            return data;
        }""",
        {name: content.decode("latin-1") for name, content in files.items()},
    )
    visitor.page.dispatch_event("[data-drop-files]", "drop", {"dataTransfer": data})


def test_dropped_files_go_to_their_fields(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("/import")
    drop(visitor, {"photos.zip": b"PK"})
    drop(visitor, {"produits.csv": SHOP})
    names = {
        field: page.evaluate(f"document.querySelector('#{field}').files[0]?.name")
        for field in ("products", "images")
    }
    assert names == {"products": "produits.csv", "images": "photos.zip"}
    drop(visitor, {"1.jpg": b"x"})
    expect(page.locator("#images-place")).to_have_text(str(TEXTS[visitor.language]["loose"]))
    drop(visitor, {"a.xlsx": b"x", "b.zip": b"PK"})
    assert page.evaluate("document.querySelector('#products').files[0].name") == "a.xlsx"
    assert page.evaluate("document.querySelector('#images').files[0].name") == "b.zip"
