"""The registry's server passes on the calls of Rayon's clients, and nothing else."""

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from infra.mlflow.guard import ROUTES, Guard

TOKEN = "a-token-of-this-installation"
GIVEN = {"Authorization": f"Bearer {TOKEN}"}
#: Routes of MLflow's own application that Rayon does not call.
OTHERS = (
    ("GET", "/"),
    ("GET", "/version"),
    ("GET", "/static-files/index.html"),
    ("POST", "/graphql"),
    ("GET", "/ajax-api/3.0/mlflow/assistant/config"),
    ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
    ("GET", "/api/2.0/mlflow/webhooks"),
    ("GET", "/ajax-api/3.0/mlflow/gateway/endpoints/list"),
    ("POST", "/v1/traces"),
    ("DELETE", "/api/2.0/mlflow/registered-models/delete"),
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/model"),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/create/1/model"),
    ("GET", "//api/2.0/mlflow/registered-models/get"),
    ("GET", "/api/2.0/mlflow/registered-models/get/"),
    ("GET", "/ajax-api/2.0/mlflow/registered-models/get"),
    ("OPTIONS", "/api/2.0/mlflow/registered-models/get"),
)


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what was asked, as the application behind the guard."""
    await PlainTextResponse(f"{scope['method']} {scope['path']}")(scope, receive, send)


@pytest.fixture
def client() -> TestClient:
    return TestClient(Guard(behind, TOKEN))


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
def test_call_of_rayon_needs_the_token(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).status_code == 401
    assert client.request(method, path, headers=GIVEN).text == f"{method} {path}"


@pytest.mark.parametrize(("method", "path"), OTHERS)
def test_other_routes_are_not_served(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).status_code == 401
    assert client.request(method, path, headers=GIVEN).status_code == 404


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"bearer {TOKEN}", f"Basic {TOKEN}"]
)
def test_other_authorization_is_refused(client: TestClient, value: str) -> None:
    path = "/api/2.0/mlflow/registered-models/get"
    assert client.get(path, headers={"Authorization": value}).status_code == 401


def test_second_authorization_is_refused(client: TestClient) -> None:
    twice = [("Authorization", "Bearer x"), ("Authorization", f"Bearer {TOKEN}")]
    answer = client.get("/api/2.0/mlflow/registered-models/get", headers=twice)
    assert answer.status_code == 401


def test_health_is_open(client: TestClient) -> None:
    assert client.get("/health").status_code == 200
    assert client.post("/health").status_code == 401


def test_files_are_read_and_written_only(client: TestClient) -> None:
    path = "/api/2.0/mlflow-artifacts/artifacts/1/release/model.onnx"
    assert client.put(path, content=b"x").status_code == 401
    for method in ("GET", "PUT"):
        assert client.request(method, path, headers=GIVEN).status_code == 200


def test_websocket_is_closed(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/api/2.0/mlflow/registered-models/get", headers=GIVEN),
    ):
        pass


def test_empty_token_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a token"):
        Guard(behind, "")
