"""The whole OpenAPI document, signed in as each role: no crash, no answer outside of it.

    make fuzz [EXAMPLES=50]

Source: https://schemathesis.readthedocs.io. Each request has a session of its own, for some of them
end sessions.
"""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from shared.db.models import Role, User
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
unit_of_work, guess_settings = gateway.unit_of_work, gateway.guess_settings
rate_settings = gateway.rate_settings
# The name `settings` is Hypothesis's here.
_settings = gateway.settings

seen: Counter[tuple[str, int]] = Counter()


class Visitor:
    """Somebody of one role, and what is there to be found."""

    def __init__(self, api: Api, role: Role | None) -> None:
        self.api, self.role = api, role

    def headers(self) -> dict[str, str]:
        """Signed in anew; nobody if there is no role."""
        if self.role is None:
            return {}
        user: User = self.api.user(self.role)
        return self.api.sign(user)


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

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        response = case.call(headers=visitor.headers())
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
            except Exception as error:
                wrong[f"{operation.label} {mode.value}"] = str(error)[:1_500]
    assert not wrong, "\n\n".join(f"{name}: {error}" for name, error in wrong.items())
