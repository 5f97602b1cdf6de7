"""The whole system: the commands of the README, valid and invalid products, a killed worker."""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from infra.embedded.settings import PROJECT
from tests.e2e.system import System, final
from tests.support.servers import skip_or_fail

#: Time limit of a command.
SECONDS = 240


@pytest.fixture
def client(system: System) -> Iterator[httpx.Client]:
    with system.client() as client:
        yield client


def image() -> bytes:
    """Return a JPEG of coloured noise."""
    pixels = np.random.default_rng(7).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def test_commands_of_the_readme_work(system: System, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl is not installed")
    (tmp_path / "image.jpg").write_bytes(image())
    commands = _readme_commands().replace("http://127.0.0.1:8000", system.address)
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env=system.command_line(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count('"status":"done"') == 2, ended.stdout
    assert '"prdtypecode":2583' in ended.stdout
    assert "Signed in" in ended.stdout
    assert "2583\tPiscine et accessoires" in ended.stdout


def test_command_printed_at_the_start_works(system: System) -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl is not installed")
    command = next(line for line in system.output.splitlines() if "TOKEN=$(" in line)
    ended = subprocess.run(
        ["bash", "-c", command], capture_output=True, timeout=SECONDS, check=True
    )
    assert b'"status":"done"' in ended.stdout


def test_text_is_classified(client: httpx.Client) -> None:
    job = final(client, data={"designation": "Piscine gonflable ronde pour enfants"})
    assert job["status"] == "done"
    assert job["result"]["prdtypecode"] == job["result"]["top"][0]["prdtypecode"] == 2583
    assert set(job["result"]["modalities"]) == {"text"}


def test_text_and_image_are_combined(client: httpx.Client) -> None:
    files = {"image": ("product.jpg", image(), "image/jpeg")}
    job = final(client, data={"designation": "Coussin brodé 40x40"}, files=files)
    assert job["status"] == "done"
    assert set(job["result"]["modalities"]) == {"text", "image"}
    assert job["result"]["degraded"] is None


def test_job_with_an_unreadable_image_is_classified_by_its_text(client: httpx.Client) -> None:
    files = {"image": ("product.jpg", image()[:200], "image/jpeg")}
    job = final(client, data={"designation": "Coussin brodé 40x40"}, files=files)
    assert job["status"] == "done"
    assert job["result"]["degraded"]


def test_job_with_an_unreadable_image_and_no_text_fails(client: httpx.Client) -> None:
    files = {"image": ("product.jpg", b"not an image", "image/jpeg")}
    job = final(client, data={"model": "image"}, files=files)
    assert job["status"] == "failed"
    assert job["error"]["code"] == "image_unreadable"


def test_forged_token_is_rejected(system: System) -> None:
    answer = httpx.get(f"{system.address}/v1/jobs", headers={"Authorization": "Bearer forged"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_killed_worker_is_restarted(system: System, client: httpx.Client) -> None:
    killed = system.processes()["text-interactive"]
    killed.kill()
    psutil.wait_procs([killed], timeout=5)
    job = final(client, data={"designation": "Piscine gonflable ronde pour enfants"})
    assert job["status"] == "done"
    assert system.processes()["text-interactive"].pid != killed.pid


def test_second_launcher_in_the_same_home_exits_with_an_error(system: System) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "infra.embedded"],
        cwd=PROJECT,
        env=system.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert "already runs" in ended.stderr
    assert httpx.get(f"{system.address}/readyz").status_code == 200


def _readme_commands() -> str:
    text = (PROJECT / "README.md").read_text()
    return "\n".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL))
