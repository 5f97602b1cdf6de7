"""Attacks stay within their bounds, and their table states what held."""

import io
import re
import time
from pathlib import Path

import pytest
from PIL import Image

from infra.embedded.settings import PROJECT
from tests.bench.attacks import other_user
from tests.bench.attacks.__main__ import ATTACKS, run_attack
from tests.bench.attacks.bounds import (
    ATTACK_BYTES,
    ATTACK_CONNECTIONS,
    BoundExceeded,
    Budget,
    loopback_address,
    time_limit,
)
from tests.bench.attacks.figure import NO_CONTROL, Figure, not_held, table
from tests.bench.attacks.forms import content_type, form
from tests.bench.attacks.images import MPO_BYTES, many_scans_mpo, run_length_bmp
from tests.bench.attacks.target import Target
from tests.e2e.system import System


def figure(value: float | None, attack: str = "idle connections", limit: float = 1) -> Figure:
    return Figure("5", attack, value, "s", limit, "test_of_it")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(System(tmp_path), PROJECT, rows=10)


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:8000",
        "http://example.org:8000",
        "http://localhost:8000",
        "http://0.0.0.0:8000",
        "http://127.0.0.1",
        "127.0.0.1:8000",
    ],
)
def test_other_machines_are_not_attacked(url: str) -> None:
    with pytest.raises(BoundExceeded, match=re.escape(f"Received: {url}")):
        loopback_address(url)


def test_target_of_another_machine_is_refused(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.address = "http://192.0.2.1:8000"
    with pytest.raises(BoundExceeded):
        Target(system, PROJECT, rows=10)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://127.9.9.9:80", "http://[::1]:1"])
def test_loopback_addresses_may_be_attacked(url: str) -> None:
    host, port = loopback_address(url)
    assert f"{host}:{port}" == url.removeprefix("http://").translate({91: None, 93: None})


def test_bytes_and_connections_of_an_attack_are_bounded() -> None:
    budget = Budget()
    budget.send(ATTACK_BYTES)
    with pytest.raises(BoundExceeded, match="bytes"):
        budget.send(1)
    for _ in range(ATTACK_CONNECTIONS):
        budget.connect()
    with pytest.raises(BoundExceeded, match="connections"):
        budget.connect()


def test_attack_without_end_is_stopped() -> None:
    with pytest.raises(BoundExceeded, match="within 1 s"), time_limit(1):
        time.sleep(30)


def test_attack_that_breaks_off_is_not_held(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Target) -> list[Figure]:
        raise RuntimeError("no dataset")

    monkeypatch.setattr(Target, "settle", lambda _: None)
    (found,) = run_attack("labels", fail, target)
    assert not found.is_held
    assert "labels" in found.attack
    assert "no dataset" in found.note


def test_each_attack_begins_with_a_full_budget(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Target, "settle", lambda _: None)
    target.budget.connect()
    run_attack("none", lambda _: [], target)
    assert target.budget == Budget()


def test_figure_holds_up_to_its_limit() -> None:
    assert [figure(value).is_held for value in (0, 1, 1.01, None)] == [True, True, False, False]


def test_table_shows_both_versions_and_judges_the_latest() -> None:
    before, now = [figure(15.0), figure(None, "others")], [figure(0.25), figure(2.0, "others")]
    header, idle, others = table({"e3179e9": before, "now": now})
    assert header.split()[:4] == ["#", "attack", "e3179e9", "now"]
    assert re.split(r"  +", idle) == [
        "5", "idle connections", "15", "0.25", "s", "1", "held", "test_of_it",
    ]  # fmt: skip
    assert NO_CONTROL in others
    assert "NOT HELD" in others
    assert not_held(now) == ["5 others"]


def test_missing_figure_of_the_earlier_version_is_a_dash() -> None:
    _, row = table({"e3179e9": [], "now": [figure(0)]})
    assert re.split(r"  +", row)[2:4] == ["-", "0"]


def test_every_guard_exists() -> None:
    attacks = (PROJECT / "tests" / "bench" / "attacks").glob("*.py")
    guards = {name for path in attacks for name in re.findall(r'"(test_\w+)"', path.read_text())}
    tests = "".join(
        path.read_text()
        for level in ("unit", "integration", "model", "e2e")
        for path in (PROJECT / "tests" / level).rglob("test_*.py")
    )
    assert len(guards) >= len(ATTACKS)
    assert {name for name in guards if f"def {name}(" not in tests} == set()


def test_form_names_its_charset_and_part() -> None:
    assert content_type("punycode")["Content-Type"].endswith("charset=punycode")
    assert form(b"x", "title").startswith(
        b'--x\r\nContent-Disposition: form-data; name="title"\r\n'
    )


def test_attack_images_are_what_pillow_opens() -> None:
    with Image.open(io.BytesIO(many_scans_mpo())) as image:
        assert image.format == "MPO"
    assert len(many_scans_mpo()) >= MPO_BYTES
    content = run_length_bmp()
    assert len(content) < 1_100
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (50_000_000, 1)


def test_another_user_reads_no_closed_file(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("x")
    assert [path.name for path in other_user._files(tmp_path)] == ["open"]
    assert other_user._is_readable(tmp_path / "open")
    assert not other_user._is_readable(tmp_path / "missing")
