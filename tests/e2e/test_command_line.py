"""The command line and the Python client against the running system."""

import csv
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from infra.embedded.settings import PROJECT
from rayon.sign_in import SavedSignIns
from tests.e2e.system import System

Rayon = Callable[..., "subprocess.CompletedProcess[str]"]
#: Time limit of a command. Workers of catalogs yield to all other processes of a busy machine.
SECONDS = 240


@pytest.fixture
def rayon(system: System, tmp_path: Path) -> Rayon:
    """Return a function that runs a `rayon` command."""

    def run(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["rayon", *words],
            env=system.command_line(tmp_path),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def signed_in(system: System, rayon: Rayon) -> None:
    words = ("login", "--url", system.address, "--username", "admin", "--password-stdin")
    ended = rayon(*words, stdin=system.password)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.usefixtures("signed_in")
def test_product_is_classified(rayon: Rayon) -> None:
    ended = rayon("classify", "Piscine gonflable ronde pour enfants")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("2583\tPiscine")
    job = json.loads(rayon("classify", "Piscine gonflable", "--model", "text", "--json").stdout)
    assert (job["status"], job["model"]) == ("done", "text")
    assert json.loads(rayon("jobs", "--limit", "1", "--json").stdout) == [job]


@pytest.mark.usefixtures("signed_in")
def test_expired_token_is_renewed_and_a_sign_out_is_final(
    system: System, rayon: Rayon, tmp_path: Path
) -> None:
    saved = SavedSignIns(tmp_path / "config" / "rayon" / "sign-ins.json")
    kept = saved.find(system.address)
    assert kept
    saved.renew(replace(kept, access_token="expired"))
    assert rayon("whoami").stdout == f"admin (admin) at {system.address}\n"
    renewed = saved.find(system.address)
    assert renewed
    assert renewed.refresh_token != kept.refresh_token
    assert rayon("logout").returncode == 0
    saved.save(renewed)
    assert rayon("whoami").returncode == 3


@pytest.mark.usefixtures("signed_in")
def test_lists_are_printed_and_an_unknown_job_exits_with_4(rayon: Rayon) -> None:
    assert "champion" in rayon("releases").stdout
    assert "2583\t" in rayon("categories").stdout
    assert rayon("queues").returncode == 0
    assert rayon("jobs", "unknown").returncode == 4


@pytest.mark.usefixtures("signed_in")
def test_python_example_of_the_readme_works(system: System, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert blocks
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        env=system.command_line(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("2583 Piscine")


@pytest.mark.usefixtures("signed_in")
def test_catalog_is_classified_row_by_row(rayon: Rayon, tmp_path: Path) -> None:
    # Given a product file with an image in a folder of the archive, an image that is missing from
    # the archive, a quote that is never closed, and an additional column
    table, archive, out = (tmp_path / name for name in ("p.csv", "p.zip", "r.csv"))
    table.write_text(
        "ref;designation;description;image\n"
        "a;Piscine gonflable ronde;;piscine.jpg\n"
        'b;"Livre jamais fermé;;\n'
        "c;Console de jeu Nintendo;;absent.jpg\n"
    )
    image = io.BytesIO()
    Image.new("RGB", (80, 60), "blue").save(image, "JPEG")
    with zipfile.ZipFile(archive, "w") as images:
        images.writestr("photos/piscine.jpg", image.getvalue())
    ended = rayon("catalog", str(table), "--images", str(archive), "--out", str(out))
    # Then each row has its result in order: the broken row is rejected, and the row without its
    # image is marked as degraded
    assert ended.returncode == 1, ended.stderr
    rows = list(csv.DictReader(io.StringIO(out.read_text()), delimiter=";"))
    assert [row["ref"] for row in rows] == ["a", "b", "c"]
    assert [row["status"] for row in rows] == ["done", "rejected", "done"]
    assert (rows[0]["prdtypecode"], rows[0]["degraded"]) == ("2583", "")
    assert "image=" in rows[0]["modalities"]
    assert rows[2]["degraded"] == "image_missing"
    # and the same command again returns the same catalog
    again = rayon("catalog", str(table), "--images", str(archive), "--out", str(out), "--json")
    assert json.loads(again.stdout)["counts"]["done"] == 2
    assert len(json.loads(rayon("catalogs", "--json").stdout)) == 1
