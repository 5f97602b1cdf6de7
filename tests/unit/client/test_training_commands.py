"""Commands about datasets, training runs, releases and passwords: output and exit codes."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rayon import datasets, training
from rayon.answers import Release
from rayon.cli import accounts, models
from rayon.cli.screen import Screen
from rayon.cli.training.following import Log, following
from rayon.training import TrainingRun
from tests.unit.client.conftest import Run
from tests.unit.client.service import FakeService
from tests.unit.client.training_service import FINDING, RARE, TrainingState, run_of

pytestmark = pytest.mark.usefixtures("signed_in")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for the state of a check or a run many times a second."""
    monkeypatch.setattr(datasets, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(training, "POLL_SECONDS", 0.01)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write to a terminal of 80 columns without colours."""
    for name, value in (("TTY_COMPATIBLE", "1"), ("NO_COLOR", "1"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)


@pytest.fixture
def products(tmp_path: Path) -> Path:
    path = tmp_path / "products.csv"
    path.write_text("title,category\nCouette,Maison > Literie\n" * 1000)
    return path


def _step(step: str, done: int, log: str = "", **more: Any) -> dict[str, Any]:
    progress = {"step": step, "done": done, "of": 39, **more}
    return {"progress": progress, "log_tail": log}


# Datasets


def test_dataset_is_uploaded_with_its_files_and_its_findings_name_lines(
    run: Run, service: FakeService, products: Path, tmp_path: Path
) -> None:
    service.training.findings = [RARE, FINDING]
    images = tmp_path / "images.zip"
    images.write_bytes(b"PK")
    ended = run(f"dataset add shop {products} --images {images}")
    assert ended.exit_code == 1
    (sent,) = service.training.forms
    assert sent == {"name": "shop", "products": "products.csv", "images": "images.zip"}
    lines = ended.stdout.splitlines()
    assert lines[0] == "shop@1 is failed: 700 rows, 12 categories, 640 images"
    assert lines[1:3] == [
        "error: 3 rows have no category  [no_label]",
        "  lines 3, 7 and 1 more",
    ]
    assert lines[3] == "warning: One category has 2 rows  [rare]"
    assert "Uploading" in ended.stderr
    assert "kB of" in ended.stderr


def test_dataset_that_is_ready_shows_the_next_command(
    run: Run, service: FakeService, products: Path
) -> None:
    service.training.findings = [RARE]
    ended = run(f"dataset add shop {products}")
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[-1] == ("To train on it: rayon train --dataset shop --follow")
    assert run("dataset check shop").exit_code == 0
    assert json.loads(run("dataset check shop --json").stdout)["status"] == "ready"


def test_dataset_can_be_left_while_it_is_checked(
    run: Run, service: FakeService, products: Path
) -> None:
    service.training.polls = 3
    ended = run(f"dataset add shop {products} --no-wait")
    assert ended.exit_code == 0
    assert "rayon dataset check shop" in ended.stdout
    assert run("dataset check shop").stdout.startswith("shop@1 is ready")


def test_rows_make_a_new_version(run: Run, service: FakeService, products: Path) -> None:
    run(f"dataset add shop {products}")
    ended = run(f"dataset rows shop {products} --remove a1 --remove b2 --corrected")
    assert ended.stdout.startswith("shop@2 is ready")
    assert service.training.forms[-1]["labels"] == "corrected"
    assert service.training.forms[-1]["remove"] == "b2"
    assert run("dataset rows shop").exit_code == 2


def test_datasets_are_listed_and_deleted(run: Run, service: FakeService, products: Path) -> None:
    run(f"dataset add shop {products}")
    assert run("dataset show").stdout.split("\t")[:2] == ["shop@1", "ready"]
    assert run("dataset show shop").stdout.split("\t")[2:5] == ["700", "12", "640"]
    assert run("dataset delete shop").exit_code == 2
    assert run("dataset delete shop --yes").stdout == "shop was deleted.\n"
    assert service.training.datasets == {}
    ended = run("dataset check shop")
    assert (ended.exit_code, "No dataset 'shop'" in ended.stderr) == (4, True)


# Training


def test_followed_training_shows_stages_progress_and_log(run: Run, service: FakeService) -> None:
    within = {"part": 200, "parts": 700, "unit": "images", "seconds_left": 50.0}
    service.training.runs = [
        {"status": "queued"},
        _step("text_ngrams fit", 2, "read 700 products"),
        _step("image_xception fit", 4, "read 700 products\n200 of 700 images", **within),
        {
            **_step("compare", 0, "read 700 products\n200 of 700 images\nbetter"),
            "status": "finished",
            "version": "4",
            "message": "Waiting for an admin. Better: 0.96 against 0.91",
        },
    ]
    ended = run("train --dataset shop --follow --reason 'new categories'")
    assert ended.exit_code == 0
    assert ended.stderr.splitlines() == [
        "Waiting for the trainer",
        "  read 700 products",
        "Train text model: n-grams: 2 of about 39 steps",
        "  200 of 700 images",
        "Train image model: Xception: 28 %, 50 s left, 4 of about 39 steps",
        "  better",
        "Finished",
    ]
    assert "Better: 0.96 against 0.91" in ended.stdout
    assert "rayon promote 4" in ended.stdout


def test_followed_training_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown, screen = io.StringIO(), Screen()
    screen.errors = Console(file=shown, force_terminal=True, width=80)
    state = TrainingState(
        runs=[
            _step(
                "image_efficientnet_lite0 predict",
                38,
                "x" * 300,
                part=200,
                parts=700,
                unit="images",
                seconds_left=3700.0,
            )
        ]
    )
    with following(screen) as show:
        show(TrainingRun.read(run_of(state)))
    plain = re.sub("\x1b[^a-zA-Z]*[a-zA-Z]", "", shown.getvalue())
    lines = re.split("[\r\n]", plain)
    assert max(map(len, lines)) <= 80
    assert any("Test image model: EfficientNet-Lite0" in line for line in lines)
    assert any("28 %, 1 h 1 min left" in line for line in lines)
    assert any("38 of about 39" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": "failed", "message": "The training failed: no labels"}, 1),
        ({"status": "finished", "version": "9", "message": "Release 9 was rejected"}, 1),
        ({"status": "finished", "version": "4", "message": "Promoted"}, 0),
        ({"status": "running"}, 0),
    ],
)
def test_exit_code_of_a_run(
    run: Run, service: FakeService, changes: dict[str, Any], code: int
) -> None:
    service.training.runs = [changes]
    ended = run("train run-1")
    assert ended.exit_code == code
    assert changes.get("message", "To watch it: rayon train --follow run-1") in ended.stdout


def test_release_that_serves_already_is_not_offered_for_promotion(
    run: Run, service: FakeService
) -> None:
    service.training.runs = [{"status": "finished", "version": "5", "message": "Promoted"}]
    ended = run("train run-1")
    assert (ended.exit_code, "rayon promote" in ended.stdout) == (0, False)
    assert "rayon rollback" in ended.stdout


def test_interrupted_display_leaves_the_run_and_shows_how_to_come_back(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.training.runs = [_step("text_ngrams fit", 2)]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rayon.training.time.sleep", interrupt)
    ended = run("train --dataset shop --follow")
    assert ended.exit_code == 130
    assert "the training continues" in ended.stderr
    assert "rayon train --follow run-1" in ended.stderr
    assert not service.training.cancelled


def test_run_is_cancelled_and_listed(run: Run, service: FakeService) -> None:
    assert run("train run-1 --cancel").exit_code == 1
    assert service.training.cancelled
    assert run("runs").stdout.split("\t")[:3] == ["run-1", "cancelled", "shop@1"]


@pytest.mark.parametrize("options", ["", "run-1 --dataset shop", "--dataset shop --cancel"])
def test_training_needs_a_dataset_or_a_run(run: Run, options: str) -> None:
    assert run(f"train {options}").exit_code == 2


def test_new_lines_of_a_log_follow_those_seen_before() -> None:
    log = Log()
    assert log.new(("a", "b")) == ("a", "b")
    assert log.new(("b", "c")) == ("c",)
    assert log.new(("b", "c")) == ()
    assert log.new(("x", "y")) == ("x", "y")


# Releases


@pytest.mark.usefixtures("terminal")
def test_releases_fit_a_terminal(run: Run) -> None:
    shown = re.sub("\x1b[^m]*m", "", run("releases").stdout)
    heading, row = shown.splitlines()
    names = ["version", "made", "text", "image", "fusion", "verdict", "status"]
    assert heading.split() == names
    assert row.split()[0] == "3"
    assert row.split()[3:] == ["0.810", "–", "0.821", "not", "comparable", "watched"]
    assert max(len(heading), len(row)) <= 80


@pytest.mark.parametrize(
    ("state", "serving", "status"),
    [
        ("watching", True, "watched"),
        ("alerted", True, "worse"),
        ("passed", True, "serving"),
        ("rolled_back", False, "rolled back"),
        (None, False, ""),
    ],
)
def test_status_of_a_release_shows_its_watch(state: str | None, serving: bool, status: str) -> None:
    body = {
        "version": "3",
        "aliases": [],
        "created_at": "2026-11-02T09:00:00Z",
        "serving": serving,
        "watch": state and {"state": state},
    }
    assert models._status(Release.read(body)) == status


@pytest.mark.parametrize(
    ("command", "version"), [("promote 4 --reason shoes", "4"), ("rollback -r shoes", "3")]
)
def test_release_is_promoted_or_rolled_back(
    run: Run, service: FakeService, command: str, version: str
) -> None:
    ended = run(command)
    assert (ended.exit_code, service.training.reasons) == (0, ["shoes"])
    assert ended.stdout == f"Release {version} serves: new jobs get it from now on.\n"


def test_promotion_that_does_not_serve_yet_exits_with_one(run: Run, service: FakeService) -> None:
    service.training.loads = False
    ended = run("promote 4 --reason shoes")
    assert (ended.exit_code, "rayon queues" in ended.stdout) == (1, True)


def test_promotion_needs_a_reason(run: Run) -> None:
    assert run("promote 4").exit_code == 2


# Passwords


def test_password_is_chosen_with_a_one_time_code(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "is_terminal", lambda: True)
    ended = run("password --code", "abc-def\nlong enough\nlong enough\n")
    assert ended.exit_code == 0
    assert service.training.passwords == [{"code": "abc-def", "new_password": "long enough"}]
    assert "long enough" not in ended.output
    assert "rayon login" in ended.stdout


def test_password_is_changed_and_the_user_stays_signed_in(run: Run, service: FakeService) -> None:
    ended = run("password --stdin", "correct horse battery\ncorrect horse battery\n")
    assert ended.exit_code == 0, ended.stderr
    (sent,) = service.training.passwords
    assert set(sent) == {"current_password", "new_password"}
    assert run("whoami").exit_code == 0


def test_password_without_a_terminal_names_the_option(run: Run) -> None:
    ended = run("password --code")
    assert ended.exit_code == 2
    assert "--stdin" in ended.stderr
