"""Training runs without a dataset, where the trainer has no data folder of its own."""

import pytest
from pydantic import SecretStr

from gateway.settings import GatewaySettings
from shared.db.models import DatasetStatus, DatasetVersion, Role, TrainingRun
from tests.unit.gateway.conftest import Api


@pytest.fixture(scope="module")
def settings() -> GatewaySettings:
    return GatewaySettings(secret_key=SecretStr("s" * 32))


@pytest.fixture
def operator(api: Api) -> dict[str, str]:
    return api.sign(api.user(Role.OPERATOR, username="olga"))


def refused(api: Api, operator: dict[str, str]) -> dict[str, str]:
    answer = api.client.post("/v1/training-runs", headers=operator, json={"reason": "test"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "dataset"
    with api.unit_of_work.reading() as session:
        assert session.query(TrainingRun).count() == 0
    found: dict[str, str] = answer.json()
    return found


def test_run_without_a_dataset_is_refused_with_what_to_send(
    api: Api, operator: dict[str, str]
) -> None:
    problem = refused(api, operator)
    assert "send one to POST /v1/datasets first" in problem["detail"]
    assert "RAYON_" not in problem["detail"]


def test_refusal_names_the_stored_datasets(api: Api, operator: dict[str, str]) -> None:
    for name, status in (("toys", "ready"), ("shop", "ready"), ("broken", "failed")):
        api.add(
            DatasetVersion(
                name=name,
                version=1,
                status=DatasetStatus(status).value,
                created_by="olga",
                asked={},
            )
        )
    assert "such as 'shop', 'toys'. Received: none" in refused(api, operator)["detail"]


def test_data_folder_of_the_trainer_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYON_TRAINER_DATA", "/data/shop")
    assert str(GatewaySettings(secret_key=SecretStr("s" * 32)).trainer_data) == "/data/shop"
