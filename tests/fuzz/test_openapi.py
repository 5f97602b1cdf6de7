"""Responses to generated requests match the OpenAPI document, for each role and signed out.

    make fuzz [EXAMPLES=50]

The requests come from Schemathesis (https://schemathesis.readthedocs.io). Each request has its own
session, because some requests end sessions.
"""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, given, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.core.failures import FailureGroup

from shared.db.models import (
    Catalog,
    DatasetVersion,
    DeadLetter,
    Report,
    Review,
    Role,
    TrainingRun,
    User,
    new_id,
    now,
)
from tests.support.factories import make_job
from tests.unit.gateway import conftest as gateway
from tests.unit.gateway.conftest import Api

#: Requests per operation and generation mode.
EXAMPLES = int(os.environ.get("EXAMPLES", "50"))
checks.load_all_checks()
CHECKS = [
    checks.not_a_server_error,
    checks.CHECKS.get_one("status_code_conformance"),
    checks.CHECKS.get_one("content_type_conformance"),
    checks.CHECKS.get_one("response_headers_conformance"),
    checks.CHECKS.get_one("response_schema_conformance"),
]

api, broker, migrated = gateway.api, gateway.broker, gateway.migrated
unit_of_work, sign_in_limit_settings = gateway.unit_of_work, gateway.sign_in_limit_settings
rate_settings, settings = gateway.rate_settings, gateway.settings
catalog_settings, release_settings = gateway.catalog_settings, gateway.release_settings

#: Number of responses by role and status.
responses: Counter[tuple[str, int]] = Counter()

#: Month of the report that exists.
MONTH = "2026-10"


class Visitor:
    """A user of one role, or a signed-out one, with objects that requests can refer to."""

    def __init__(self, api: Api, role: Role | None) -> None:
        self.api, self.role = api, role

    def sign_in(self) -> tuple[dict[str, str], dict[str, str]]:
        """Start a session; return its headers and the path parameters of new objects."""
        owner = self.api.user(self.role or Role.CLIENT)
        headers = self.api.sign(owner) if self.role else {}
        return headers, self._create_objects(owner)

    def _create_objects(self, owner: User) -> dict[str, str]:
        # The job is final, because a long poll on a queued job would block.
        image = self.api.services.storage.put("images", b"\xff\xd8\xff")
        job = make_job(owner, status="failed", error_code="x", error_message="x", image_uri=image)
        catalog = Catalog(
            user_id=owner.id,
            trace_id="0" * 32,
            name="products.csv",
            model="text",
            release="1",
            dry_run=False,
            fingerprint=new_id(),
            size=1,
            has_images=False,
            status="finished",
            report={"columns": ["productid"], "delimiter": ",", "has_bom": False},
        )
        letter = DeadLetter(
            id=new_id(),
            topic="training_requested",
            payload={"trace_id": "0", "run_id": "r", "reason": "x", "requested_by": "y"},
            fingerprint=new_id(),
            error="x",
            deliveries=4,
            parked_at=now(),
        )
        run = TrainingRun(id=new_id(), requested_by="ada", reason="fuzz")
        version = DatasetVersion(
            name=f"data-{new_id()}", version=1, created_by="ada", asked={}, status="ready"
        )
        self.api.add(job, catalog, letter, run, version)
        self.api.add(Review(job_id=job.id, reason="random", chance=0.5))
        with self.api.unit_of_work() as work:
            work.session.merge(
                Report(month=MONTH, verdict="watch", document={}, page="<!doctype html>")
            )
        return {
            "month": MONTH,
            "job_id": job.id,
            "review_id": job.id,
            "catalog_id": catalog.id,
            "letter_id": letter.id,
            "run_id": run.id,
            "name": version.name,
            "version": "2",
            "username": self.api.user().username,
        }


@pytest.fixture(params=[None, *Role], ids=lambda role: role or "signed_out")
def visitor(request: pytest.FixtureRequest, api: Api) -> Visitor:
    """Return a user of each role, and one who is signed out."""
    return Visitor(api, request.param)


@pytest.fixture(scope="session", autouse=True)
def response_counts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print the number of responses by role and status at the end."""
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{sum(responses.values())} requests")
        for role in dict.fromkeys(name for name, _ in responses):
            counts = {status: n for (name, status), n in sorted(responses.items()) if name == role}
            print(f"  {role:<11}{sum(counts.values()):>6}  {counts}")


def send_requests(operation: Any, visitor: Visitor, mode: GenerationMode) -> None:
    """Send generated requests, valid or invalid by `mode`, and check the responses."""

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), exists=strategies.booleans())
    def send(case: schemathesis.Case, exists: bool) -> None:
        headers, objects = visitor.sign_in()
        if exists:
            # A generated path parameter practically never refers to an existing object.
            known = {name: objects[name] for name in case.path_parameters if name in objects}
            case.path_parameters.update(known)
        response = case.call(headers=headers)
        responses[(visitor.role or "signed_out", response.status_code)] += 1
        case.validate_response(response, checks=CHECKS)

    send()


def test_responses_match_the_openapi_document(visitor: Visitor) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", visitor.api.client.app)
    failures = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in GenerationMode:
            try:
                send_requests(operation, visitor, mode)
            except Unsatisfiable:
                # No request of this mode exists, for example no invalid one without parameters.
                continue
            except (Exception, FailureGroup) as error:
                failures[f"{operation.label} {mode.value}"] = str(error)[:1_500]
    assert not failures, "\n\n".join(f"{name}: {error}" for name, error in failures.items())
