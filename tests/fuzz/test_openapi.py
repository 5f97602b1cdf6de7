"""The whole OpenAPI document, signed in as each role: no crash, no answer outside of it.

    make fuzz [EXAMPLES=50]

Source: https://schemathesis.readthedocs.io. Each request has a session of its own, for some of them
end sessions.
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

seen: Counter[tuple[str, int]] = Counter()


#: Of the report that there is.
MONTH = "2026-10"


class Visitor:
    """Somebody of one role, and what is there to be found."""

    def __init__(self, api: Api, role: Role | None) -> None:
        self.api, self.role = api, role

    def come(self) -> tuple[dict[str, str], dict[str, str]]:
        """Sign in anew; returns the headers and the path parameters of things that exist."""
        owner = self.api.user(self.role or Role.CLIENT)
        headers = self.api.sign(owner) if self.role else {}
        return headers, self._things(owner)

    def _things(self, owner: User) -> dict[str, str]:
        # Final, for a client of one that waits would wait.
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


@pytest.fixture(params=[None, *Role], ids=lambda role: role or "nobody")
def visitor(request: pytest.FixtureRequest, api: Api) -> Visitor:
    """One of each."""
    return Visitor(api, request.param)


@pytest.fixture(scope="session", autouse=True)
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tell how many requests were made, and how they were answered."""
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{sum(seen.values())} requests")
        for role in dict.fromkeys(name for name, _ in seen):
            answers = {status: n for (name, status), n in sorted(seen.items()) if name == role}
            print(f"  {role:<9}{sum(answers.values()):>6}  {answers}")


def try_out(operation: Any, visitor: Visitor, mode: GenerationMode) -> None:
    """Send an operation what fits its description, or what does not."""

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_there=strategies.booleans())
    def send(case: schemathesis.Case, is_there: bool) -> None:
        headers, things = visitor.come()
        if is_there:
            # Nobody finds an object by chance.
            known = {name: things[name] for name in case.path_parameters if name in things}
            case.path_parameters.update(known)
        response = case.call(headers=headers)
        seen[(visitor.role or "nobody", response.status_code)] += 1
        case.validate_response(response, checks=CHECKS)

    send()


def test_answers_are_in_the_document(visitor: Visitor) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", visitor.api.client.app)
    wrong = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:
            try:
                try_out(operation, visitor, mode)
            except Unsatisfiable:
                # Nothing can be sent that does not fit: there is nothing to be described.
                continue
            except (Exception, FailureGroup) as error:
                wrong[f"{operation.label} {mode.value}"] = str(error)[:1_500]
    assert not wrong, "\n\n".join(f"{name}: {error}" for name, error in wrong.items())
