"""Send inputs that people really send to running systems, and print their answers.

    python -m tests.bench.quality.cases --cases ../shared/cases --url http://127.0.0.1:8000
    python -m tests.bench.quality.cases … --before http://127.0.0.1:8001

A folder holds one input: `products.*` with or without `images.zip` is sent as a catalog;
`request.txt` (a curl command, or headers and a body), `inputs.txt` or images as single jobs.
`expected` is the beginning of `expected.md`; a person compares it with the answers.
"""

import json
import re
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.bench.arguments import URL, plain_parser
from tests.bench.commands import run_command

#: Longest wait for the answers of one input, in seconds.
PATIENCE_SECONDS = 60.0
SHOWN_CHARACTERS = 300
USERNAME, PASSWORD = "admin", "RAYON_ADMIN_PASSWORD"
IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".gif", ".bmp")


def main() -> int:
    """Print a table of all inputs."""
    parser = plain_parser(__doc__)
    parser.add_argument("--cases", type=Path, default=Path("../shared/cases"))
    parser.add_argument("--url", default=URL, help="address of the system")
    parser.add_argument("--before", help="address of an earlier version to compare with")
    parser.add_argument("--username", default=USERNAME)
    parser.add_argument("--password", required=True, help=f"the value of {PASSWORD}")
    parser.add_argument("--before-password", help="by default the same")
    parser.add_argument("--only", default="", help="pattern of the folders' names")
    options = parser.parse_args()
    systems = {"now": System(options.url, options.username, options.password)}
    if options.before:
        password = options.before_password or options.password
        systems = {"before": System(options.before, options.username, password), **systems}
    for folder in sorted(options.cases.iterdir()):
        if folder.is_dir() and re.search(options.only, folder.name):
            print(f"{folder.name}\n  expected: {_expected(folder)}")
            for name, system in systems.items():
                print(f"  {name}: {system.answer(folder)[:SHOWN_CHARACTERS]}")
    return 0


def _expected(folder: Path) -> str:
    text = (folder / "expected.md").read_text(encoding="utf-8")
    return " ".join(text.split())[:SHOWN_CHARACTERS]


class System:
    """A running system.

    Args:
        url: Its address.
        username: The user who sends the inputs.
        password: The password of the user.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)
        form = {"username": username, "password": password}
        token = self._http.post("/v1/token", data=form).raise_for_status().json()
        self._http.headers["Authorization"] = f"Bearer {token['access_token']}"

    def answer(self, folder: Path) -> str:
        """Send the input of a folder, and return its answer in a line."""
        try:
            products = next(iter(sorted(folder.glob("products.*"))), None)
            if products is not None:
                return self._catalog(products, folder / "images.zip")
            return " | ".join(self._jobs(folder))
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"

    def _catalog(self, products: Path, images: Path) -> str:
        files = {"products": (products.name, products.read_bytes())}
        if images.exists():
            files["images"] = (images.name, images.read_bytes())
        sent = self._http.post("/v1/catalogs", files=files)
        if sent.status_code != 202:
            return _problem(sent)
        catalog = self._final(f"/v1/catalogs/{sent.json()['id']}")
        if catalog["error"]:
            return f"failed: {catalog['error']['message']}"
        counted = {name: count for name, count in catalog["counts"].items() if count}
        named = ("unmatched_count", "unused_count", "refused_count", "warnings")
        counted |= {name: catalog[name] for name in named if catalog[name]}
        path = f"/v1/catalogs/{catalog['id']}/results?format=jsonl"
        rows = [json.loads(line) for line in self._http.get(path).text.splitlines()]
        return f"{counted} {' '.join(catalog.get('notes', []))} {'; '.join(map(_row, rows))}"

    def _jobs(self, folder: Path) -> Iterator[str]:
        request, inputs = folder / "request.txt", folder / "inputs.txt"
        if request.exists():
            yield self._job(self._requested(request.read_text(encoding="utf-8"), folder))
        elif inputs.exists():
            for line in inputs.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(": ")
                if value:
                    yield self._job(self._http.post("/v1/jobs", data={name: json.loads(value)}))
        else:
            for path in sorted(folder.iterdir()):
                if path.suffix in IMAGES:
                    files = {"image": (path.name, path.read_bytes())}
                    data = {"designation": "Produit"}
                    yield self._job(self._http.post("/v1/jobs", files=files, data=data))

    def _requested(self, text: str, folder: Path) -> httpx.Response:
        if text.startswith("curl"):
            words = shlex.split(text)
            fields = [words[place + 1] for place, word in enumerate(words) if word == "-F"]
            pairs = [field.partition("=")[::2] for field in fields]
            files: list[tuple[str, Any]] = [
                (
                    name,
                    (value[1:], (folder / value[1:]).read_bytes())
                    if value[0] == "@"
                    else (None, value),
                )
                for name, value in pairs
            ]
            return self._http.post("/v1/jobs", files=files)
        head, _, body = text.partition("\n\n")
        lines = head.splitlines()
        headers = dict(line.split(": ", 1) for line in lines[1:])
        return self._http.post(lines[0].split()[1], headers=headers, content=body.strip().encode())

    def _job(self, sent: httpx.Response) -> str:
        if sent.status_code != 202:
            return _problem(sent)
        job = self._final(f"/v1/jobs/{sent.json()['id']}")
        if job["error"]:
            return f"failed: {job['error']['code']}: {job['error']['message']}"
        result = job["result"]
        return (
            f"{result['prdtypecode']} {result['confidence']:.2f} {[*result['modalities']]} "
            f"{result['degraded'] or ''}"
        )

    def _final(self, path: str) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            found: dict[str, Any] = self._http.get(path, params={"wait": 10}).json()
            if found["status"] not in ("queued", "validating", "running"):
                return found
            if time.monotonic() > until:
                return {**found, "error": {"code": found["status"], "message": "no answer in time"}}


def _row(row: Mapping[str, Any]) -> str:
    """Return the answer of a row of results: its code, its modalities and its message."""
    # The answer columns come last, so the last of several equal names is the answer's.
    answer = {re.sub(r"^rayon_|_\d+$", "", name): value for name, value in row.items()}
    used = Counter(part.partition("=")[0] for part in str(answer.get("modalities") or "").split())
    message = answer.get("message") or answer.get("degraded") or ""
    shown = answer["prdtypecode"] if answer["status"] == "done" else answer["status"]
    return " ".join(filter(None, (str(shown), "+".join(used), message)))


def _problem(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"{answer.status_code}"
    errors = [f"{one['field']}: {one['message']}" for one in body.get("errors", [])]
    return f"{answer.status_code} {'; '.join(errors) or body.get('detail', '')}"


if __name__ == "__main__":
    run_command(main)
