"""Calls of MLflow's REST API, as every process makes them while it serves.

MLflow's own client takes some 75 MiB in each process and seconds to import, because it brings
pandas and much else. It is left for what is rare: registering a release, and files that the server
does not pass on.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.util import Retry

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
#: Scheme of the addresses of files that the server passes on from wherever it keeps them.
PASSED_ON = "mlflow-artifacts"
#: Answers of a server, or of a proxy before it, that is overloaded or starts.
TEMPORARY = (408, 429, 500, 502, 503, 504)
#: Pause before the first new try of a call, in seconds.
PAUSE_SECONDS = 1.0
CHUNK_BYTES = 1024 * 1024

Answer = dict[str, Any]


class MlflowRefusal(Exception):
    """MLflow answered a call with an error, such as `RESOURCE_DOES_NOT_EXIST`."""

    def __init__(self, error_code: str, message: str) -> None:
        super().__init__(f"{error_code}: {message}")
        self.error_code = error_code


class MlflowServer:
    """An MLflow server, with its open connections.

    Every method raises `requests.RequestException` if the server does not answer, and
    `MlflowRefusal` if it answers with an error.

    Args:
        address: Where it is, such as `http://127.0.0.1:5001`.
        token: Secret that it asks for; without one, the variables of MLflow's client count.
        seconds: Longest wait for an answer.
        tries: How often a call is made before it fails. All of them may be repeated.
    """

    def __init__(
        self, address: str, token: SecretStr | None, *, seconds: float, tries: int
    ) -> None:
        self._address = address.rstrip("/")
        self._seconds = seconds
        self._session = requests.Session()
        self._session.auth = _sign_in(token)
        # An address in the variable replaces the authorities of the system, as in MLflow's client.
        self._session.verify = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or (
            os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() not in ("true", "1")
        )
        self._session.cert = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None
        retries = Retry(
            total=tries - 1,
            status_forcelist=TEMPORARY,
            backoff_factor=PAUSE_SECONDS,
            allowed_methods=None,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retries))

    def get(self, call: str, **parameters: object) -> Answer:
        """Read something; parameters that are `None` are left out."""
        return self._answer("GET", f"{API}/{call}", params=parameters)

    def post(self, call: str, **fields: str) -> Answer:
        """Change something."""
        return self._answer("POST", f"{API}/{call}", json=fields)

    def delete(self, call: str, **fields: str) -> Answer:
        """Delete something."""
        return self._answer("DELETE", f"{API}/{call}", json=fields)

    def passes_on(self, address: str) -> bool:
        """Return True if the server passes the files at an address on."""
        parts = urlsplit(address)
        return parts.scheme == PASSED_ON and not parts.netloc

    def download(self, address: str, into: Path) -> Path:
        """Download a folder that the server passes on, and return its copy in another folder."""
        root = urlsplit(address).path.strip("/")
        copy = into / PurePosixPath(root).name
        copy.mkdir()
        for path in self._files(root):
            target = copy / PurePosixPath(path).relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(path, target)
        return copy

    def _files(self, folder: str) -> Iterator[str]:
        for entry in self._answer("GET", FILES, params={"path": folder}).get("files", ()):
            name = str(entry["path"])
            if "/" in name or name in ("", ".", ".."):
                raise MlflowRefusal("INVALID_STATE", f"Expected the name of a file: {name!r}")
            path = f"{folder}/{name}"
            if entry.get("is_dir"):
                yield from self._files(path)
            else:
                yield path

    def _fetch(self, path: str, target: Path) -> None:
        with self._request("GET", f"{FILES}/{quote(path)}", stream=True) as response:
            if not response.ok:
                raise _refusal(response)
            with target.open("wb") as file:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)

    def _answer(self, method: str, path: str, **options: Any) -> Answer:
        response = self._request(method, path, **options)
        if not response.ok:
            raise _refusal(response)
        answer: Answer = response.json()
        return answer

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        return self._session.request(
            method, f"{self._address}{path}", timeout=self._seconds, **options
        )


class _Bearer(AuthBase):
    """Sends a token. Without a class of its own, entries of `.netrc` would replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _sign_in(token: SecretStr | None) -> AuthBase | None:
    if token is not None:
        return _Bearer(token.get_secret_value())
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return HTTPBasicAuth(user, password)
    of_operator = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return _Bearer(of_operator) if of_operator else None


def _refusal(response: requests.Response) -> Exception:
    try:
        body = response.json()
        return MlflowRefusal(body["error_code"], body.get("message", ""))
    except (requests.JSONDecodeError, KeyError, TypeError, AttributeError):
        reason = f"{response.status_code} {response.reason}"
        return requests.HTTPError(f"Expected an answer of MLflow. Received: {reason}")
