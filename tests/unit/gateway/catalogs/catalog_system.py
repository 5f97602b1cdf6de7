"""Send catalogs, step the feeder by hand, and answer jobs as fusion does."""

import csv
import io
import time
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select, update

from gateway.catalogs.feeder import Feeder
from shared.contracts import ScoreImage, ScoreText
from shared.db.models import Catalog, Job, JobStatus, now
from tests.unit.gateway.conftest import Api

STEP_SECONDS = 0.01
PATIENCE_SECONDS = 20.0


#: Makes a feeder; keyword arguments override the default settings.
Feeders = Callable[..., Feeder]


def table(*rows: Sequence[str], header: str = "designation,description,image") -> bytes:
    """Return a CSV file."""
    text = io.StringIO(newline="")
    text.write(header + "\n")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def archive(**images: bytes) -> bytes:
    """Return a ZIP archive of images named `<name>.jpg`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in images.items():
            made.writestr(f"{name}.jpg", content)
    return file.getvalue()


def send(
    api: Api,
    headers: dict[str, str],
    products: bytes,
    images: bytes | None = None,
    key: str | None = None,
    **fields: str,
) -> dict[str, Any]:
    """Upload a catalog, which must be accepted."""
    files = {"products": ("shop.csv", products)}
    if images is not None:
        files["images"] = ("shop.zip", images)
    more = {"Idempotency-Key": key} if key else {}
    answer = api.client.post("/v1/catalogs", headers={**headers, **more}, files=files, data=fields)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/catalogs/{found['id']}"
    return found


def show(api: Api, headers: dict[str, str], catalog_id: str) -> dict[str, Any]:
    """Return a catalog as the API shows it."""
    answer = api.client.get(f"/v1/catalogs/{catalog_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def step_until_checked(api: Api, running: Feeder, catalog_id: str) -> None:
    """Step until the check, which runs in its own thread, has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        running.step()
        catalog = api.get(Catalog, catalog_id)
        assert catalog is not None
        if catalog.status != "validating":
            return
        assert time.monotonic() < deadline, "the check did not end in time"
        time.sleep(STEP_SECONDS)


def jobs_of(api: Api, catalog_id: str) -> list[Job]:
    """Return the catalog's jobs in the order of its rows."""
    with api.unit_of_work.reading() as session:
        query = select(Job).where(Job.catalog_id == catalog_id).order_by(Job.id)
        return list(session.scalars(query).all())


def answer_all(api: Api, catalog_id: str, *conditions: ColumnElement[bool], **changes: Any) -> None:
    """Answer the queued jobs of a catalog that meet the conditions, as fusion does."""
    result = {
        "category": "Livres",
        "top": [{"prdtypecode": 10, "category": "Livres", "probability": 0.9}],
        "modalities": {"text": {"prdtypecode": 10, "confidence": 0.9}},
        "degraded": None,
    }
    values = {
        "status": JobStatus.DONE.value,
        "finished_at": now(),
        "prdtypecode": 10,
        "confidence": 0.9,
        "result": result,
        **changes,
    }
    with api.unit_of_work() as work:
        work.session.execute(
            update(Job)
            .where(
                Job.catalog_id == catalog_id,
                Job.status == JobStatus.QUEUED.value,
                *conditions,
            )
            .values(**values)
        )


def texts_sent(api: Api) -> list[list[str]]:
    """Return the titles of each `ScoreText` message."""
    sent = [message for message in api.broker.messages if isinstance(message, ScoreText)]
    return [[item.designation for item in message.items] for message in sent]


def images_sent(api: Api) -> list[list[str]]:
    """Return the image URIs of each `ScoreImage` message."""
    sent = [message for message in api.broker.messages if isinstance(message, ScoreImage)]
    return [[item.uri for item in message.items] for message in sent]
