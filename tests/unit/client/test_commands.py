"""Output, streams and exit codes of the command line."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.web.error_handlers import problem
from rayon import Catalog
from rayon.cli import accounts
from rayon.sign_in import SavedSignIns
from tests.support.servers import free_port
from tests.unit.client.conftest import Run
from tests.unit.client.service import KEY, PASSWORD, RESULT, USERNAME, FakeService, busy


@pytest.fixture
def products(tmp_path: Path) -> Path:
    path = tmp_path / "products.csv"
    path.write_text("designation\nPiscine\nConsole\nLivre\n")
    return path


# Signing in


def test_login_reads_the_password_from_stdin(run: Run, service: FakeService) -> None:
    ended = run(f"login --url {service.url} --username {USERNAME} --password-stdin", PASSWORD)
    assert (ended.exit_code, ended.stdout) == (0, f"Signed in at {service.url} as amelie.\n")
    assert "amelie (client)" in run("whoami").stdout
    assert json.loads(run("whoami --json").stdout)["url"] == service.url


def test_login_prompts_for_username_and_password(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "is_terminal", lambda: True)
    ended = run(f"login --url {service.url}", f"{USERNAME}\n{PASSWORD}\n")
    assert ended.exit_code == 0
    assert PASSWORD not in ended.output


def test_login_accepts_an_api_key(run: Run, service: FakeService, saved: SavedSignIns) -> None:
    ended = run(f"login --url {service.url} --api-key --password-stdin", f"{KEY}\n")
    assert ended.exit_code == 0
    assert run("whoami").exit_code == 0
    assert run("logout").exit_code == 0
    assert saved.find(service.url) is None


def test_login_warns_about_an_unencrypted_connection(run: Run) -> None:
    ended = run("login --url http://rayon.invalid -u amelie --password-stdin", PASSWORD)
    assert "not encrypted" in ended.stderr
    assert ended.exit_code == 5


@pytest.mark.parametrize("command", ["login", "login -u amelie"])
def test_login_without_a_terminal_names_the_option(run: Run, command: str) -> None:
    ended = run(command)
    assert ended.exit_code == 2
    assert "no terminal to prompt" in " ".join(ended.stderr.replace("│", "").split())


@pytest.mark.usefixtures("signed_in")
def test_logout_ends_the_session(run: Run, service: FakeService) -> None:
    assert run("logout").exit_code == 0
    assert not service.sessions
    ended = run("whoami")
    assert ended.exit_code == 3
    assert "rayon login" in ended.stderr
    assert run("logout").exit_code == 0


@pytest.mark.usefixtures("signed_in")
def test_logout_deletes_credentials_even_if_the_service_fails(
    run: Run, service: FakeService, saved: SavedSignIns
) -> None:
    service.faults.append(problem(500, "Broken", "Broken"))
    ended = run("logout")
    assert ended.exit_code == 0
    assert "expires by itself" in ended.stderr
    assert saved.find(service.url) is None


# Products


@pytest.mark.usefixtures("signed_in")
def test_classify_writes_one_line_to_a_pipe(run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8")
    ended = run(f"classify 'Piscine gonflable' --image {photo}")
    assert (ended.exit_code, ended.stdout) == (0, "2583\tPiscine et accessoires\t0.97\n")


@pytest.mark.usefixtures("signed_in")
def test_classify_writes_sentences_to_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = run("classify Piscine").stdout.splitlines()
    assert lines == ["Piscine et accessoires (2583), 97 % sure", "  or Jouets (1280), 2 %"]


@pytest.mark.usefixtures("signed_in")
def test_classify_writes_the_job_as_json(run: Run, service: FakeService) -> None:
    assert json.loads(run("classify Piscine --json").stdout) == next(iter(service.jobs.values()))


QUEUED = {
    "status": "queued",
    "prdtypecode": 2583,
    "category": "Piscine et accessoires",
    "release": "1",
    "requested_at": "2026-01-05T10:00:00Z",
    "text": {"status": "queued", "probability": None, "error": None},
    "image": None,
}
EXPLAINED = {
    **QUEUED,
    "status": "done",
    "text": {
        "status": "done",
        "probability": 0.95,
        "error": None,
        "designation": [{"text": "Belle", "effect": -0.21}, {"text": "piscine", "effect": 3.124}],
    },
    "image": {
        "status": "done",
        "probability": 0.4,
        "error": None,
        "grid": [[0.1, -0.5], [1.5, 0.0]],
    },
}


def known_job(run: Run, service: FakeService) -> str:
    run("classify Piscine")
    return next(iter(service.jobs))


@pytest.mark.usefixtures("signed_in")
def test_explain_waits_and_shows_the_strongest_words_first(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = known_job(run, service)
    service.explanations.extend((QUEUED, EXPLAINED, EXPLAINED))
    ended = run(f"explain {job_id}")
    assert (ended.exit_code, ended.stdout) == (0, "piscine\t+3.12\nBelle\t-0.21\n")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = run(f"explain {job_id}").stdout
    assert "Why Piscine et accessoires (2583)?" in shown
    assert "by the text alone: 95 %" in shown
    assert "row 2 and column 1 of 2 x 2 parts" in shown


@pytest.mark.usefixtures("signed_in")
def test_explain_writes_the_response_as_json(run: Run, service: FakeService) -> None:
    job_id = known_job(run, service)
    service.explanations.append(EXPLAINED)
    shown = json.loads(run(f"explain {job_id} --json").stdout)
    assert (shown["job_id"], shown["image"]["grid"]) == (job_id, [[0.1, -0.5], [1.5, 0.0]])


@pytest.mark.usefixtures("signed_in")
def test_explain_without_an_explanation_exits_with_1(run: Run, service: FakeService) -> None:
    job_id = known_job(run, service)
    error = {"code": "explanation_expired", "message": "The workers were too busy"}
    failed = {"status": "failed", "probability": None, "error": error}
    service.explanations.append({**QUEUED, "status": "failed", "text": failed})
    ended = run(f"explain {job_id}")
    assert ended.exit_code == 1
    assert "The workers were too busy" in ended.stderr
    service.explanations.append(QUEUED)
    assert "No explanation within 0 s." in run(f"explain {job_id} --wait 0").stderr


@pytest.mark.usefixtures("signed_in")
def test_classify_without_an_answer_exits_with_1(run: Run, service: FakeService) -> None:
    service.failing_jobs = True
    ended = run("classify Piscine")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "The image cannot be read" in ended.stderr
    assert "image_unreadable" in ended.stderr


@pytest.mark.usefixtures("signed_in")
def test_classify_that_times_out_prints_the_command_to_check_later(
    run: Run, service: FakeService
) -> None:
    service.slow_jobs = True
    ended = run("classify Piscine --wait 0.2")
    assert ended.exit_code == 5
    assert f"rayon jobs {next(iter(service.jobs))}" in ended.stderr


@pytest.mark.usefixtures("signed_in")
def test_jobs_are_listed_shown_and_cancelled(run: Run, service: FakeService) -> None:
    for _ in range(3):
        service.add_job()
    job = service.add_job(status="queued", result=None, finished_at=None)
    lines = run("jobs --limit 3").stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].split("\t")[1] == "done"
    assert [one["id"] for one in json.loads(run("jobs --status queued --json").stdout)] == [
        job["id"]
    ]
    assert json.loads(run(f"jobs {job['id']} --json").stdout) == job
    assert run(f"cancel {job['id']}").stdout == f"{job['id']} is cancelled.\n"


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("categories", "2583\tPiscine et accessoires"),
        (
            "queues",
            "text.interactive\t2\t1\t1 min 5 s\t3.2\t2, 1 not consuming\n"
            "training\t0\t0\t\t0.0\tmissing",
        ),
    ],
)
def test_lists_are_tab_separated_in_a_pipe(run: Run, command: str, line: str) -> None:
    assert run(command).stdout == line + "\n"
    assert json.loads(run(f"{command} --json").stdout)


@pytest.mark.usefixtures("signed_in")
def test_releases_show_the_champion(run: Run) -> None:
    version, alias, _, figures, description = run("releases").stdout.rstrip("\n").split("\t")
    assert (version, alias, figures, description) == (
        "3",
        "champion",
        "fusion_f1_plain 0.821, text_f1_plain 0.81",
        "Better on shoes",
    )


# Operations


@pytest.mark.usefixtures("signed_in")
def test_queues_mark_workers_that_need_attention(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = run("queues").stdout
    assert "2, 1 not consuming" in shown
    assert "missing" in shown
    assert "text@a:1 is connected but not consuming" in shown
    assert "text@a:1 cannot load release 4: its model is broken" in shown
    assert "3 jobs unfinished, 40 rows to feed, 1 workers" in shown


#: Lines about processes and loops that need attention.
ALARMS = (
    "feeder@a:3 is silent for 1 min 5 s",
    "scheduler@a:2: retention failed 3 times in a row at job 7: OSError: full",
    "scheduler@a:2: retention skipped 2 rows, the last was job 5: KeyError: 'x'",
    "scheduler@a:2: sweep without success for 6 min 40 s",
    "monitor is missing",
)


@pytest.mark.usefixtures("signed_in")
def test_queues_show_the_progress_of_processes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(alarm in run("queues").stderr for alarm in ALARMS)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = run("queues").stdout
    assert all(alarm in shown for alarm in ALARMS)
    assert re.search(r"scheduler +failing +4 s +6 min 44 s", shown)
    assert re.search(r"feeder +silent +1 min 5 s", shown)
    assert re.search(r"monitor +missing", shown)


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("terminal", [True, False])
def test_watched_queues_refresh_until_ctrl_c(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    def third_time(seconds: float) -> None:
        assert seconds == 0.5
        if service.looks == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("rayon.cli.operations.sleep", third_time)
    if terminal:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
    ended = run("queues --watch 0.5")
    assert ended.exit_code == 130
    assert service.looks == 3
    # A pipe receives every refresh; a terminal is redrawn, and once more at the end.
    assert ended.stdout.count("text.interactive") == (4 if terminal else 3)


@pytest.mark.usefixtures("signed_in")
def test_watched_queues_as_json_print_only_json(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_time(_seconds: float) -> None:
        if service.looks == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("rayon.cli.operations.sleep", second_time)
    said = run("queues --watch --json").stdout
    first, end = json.JSONDecoder().raw_decode(said)
    assert first["totals"]["waiting"] == 2
    assert json.loads(said[end:]) == first


@pytest.mark.usefixtures("signed_in")
def test_report_defaults_to_the_newest_month(run: Run, tmp_path: Path) -> None:
    for command in ("report", "report 2026-10"):
        lines = run(command).stdout.splitlines()
        assert lines[0] == "2026-10: watch. 1 alert raised."
        assert lines[1].split("\t") == ["fires", "watch", "1 alert raised."]
    assert json.loads(run("report --json").stdout)["month"] == "2026-10"
    page = tmp_path / "october.html"
    assert run(f"report 2026-10 --out {page}").exit_code == 0
    assert page.read_text() == "<!doctype html>"


@pytest.mark.usefixtures("signed_in")
def test_report_can_be_requested(run: Run, service: FakeService) -> None:
    ended = run("report 2026-09 --make")
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert "Generating 2026-09" in ended.stderr
    assert ("POST", "/v1/reports") in [one[:2] for one in service.requests]
    assert run("report 2026-09").exit_code == 4


@pytest.mark.usefixtures("signed_in")
def test_dead_letters_are_listed_and_shown(run: Run, service: FakeService) -> None:
    service.add_letter("one")
    service.add_letter("two", topic="modality_scored", catalog_id=None)
    for command in ("dead-letters", "dead-letters list"):
        lines = run(command).stdout.splitlines()
        assert [line.split("\t")[0] for line in lines] == ["one", "two"]
    assert lines[0].split("\t")[4:] == ["2", "catalog-1", "given up after 4 deliveries"]
    (only,) = json.loads(run("dead-letters list --topic modality_scored --json").stdout)
    assert only["id"] == "two"
    shown = run("dead-letters show one").stdout
    assert "jobs\t2 failed" in shown
    assert '"job_id": "job-1"' in shown
    assert json.loads(run("dead-letters show one --json").stdout)["release"] == "3"


@pytest.mark.usefixtures("signed_in")
def test_dead_letters_are_replayed_and_discarded(run: Run, service: FakeService) -> None:
    for name in ("one", "two", "three"):
        service.add_letter(name)
    assert run("dead-letters replay one two").stdout == (
        "one was sent again.\ntwo was sent again.\n"
    )
    assert run("dead-letters discard three").stdout == "three was discarded.\n"
    assert not service.letters
    assert run("dead-letters replay one").exit_code == 4


# Labels


@pytest.fixture
def label_file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("row,prdtypecode\n1,2583\n2,10\n3,1280\n")
    return path


@pytest.mark.usefixtures("signed_in")
def test_label_file_is_sent(run: Run, service: FakeService, label_file: Path) -> None:
    service.add_catalog(id="shop", status="finished")
    ended = run(f"labels {label_file} --catalog shop")
    assert (ended.exit_code, ended.stdout) == (0, "3 rows, 3 labels recorded, 0 rejected\n")
    assert service.bodies == [hashlib.sha256(label_file.read_bytes()).hexdigest()]
    assert json.loads(run(f"labels {label_file} --catalog shop --json").stdout)["taken"] == 3
    assert run(f"labels {label_file} --catalog nowhere").exit_code == 4
    run(f"labels {label_file} --catalog shop --new-categories")
    assert service.forms == [{}, {}, {"new_categories": "true"}]


@pytest.mark.usefixtures("signed_in")
def test_rejected_labels_are_listed_with_the_reason(
    run: Run, service: FakeService, label_file: Path
) -> None:
    service.add_catalog(id="shop", status="finished")
    problem_ = {"row": 2, "line": 3, "column": "prdtypecode", "value": "10", "reason": "No code"}
    service.labels |= {"taken": 1, "skipped": 1, "rejected": 7, "problems": [problem_] * 7}
    ended = run(f"labels {label_file} --catalog shop")
    assert ended.exit_code == 1
    assert "1 labels recorded, 7 rejected, 1 without a code" in ended.stdout
    assert ended.stdout.count("line 3, prdtypecode: No code") == 5
    assert "and 2 more" in ended.stdout


@pytest.mark.usefixtures("signed_in")
def test_new_categories_of_a_label_file_are_listed(
    run: Run, service: FakeService, label_file: Path
) -> None:
    service.add_catalog(id="shop", status="finished")
    new = [{"prdtypecode": 90_000 + number, "rows": 1 + number // 6} for number in range(7)]
    service.labels |= {"new_categories": new}
    lines = run(f"labels {label_file} --catalog shop --new-categories").stdout.splitlines()
    assert lines[1] == "7 new categories, rarest first; remove the labels of a wrong code:"
    assert lines[2] == "  90000: 1 row"
    assert lines[-1] == "  and 2 more; use --json to list them"
    service.labels |= {"new_categories": new[6:]}
    lines = run(f"labels {label_file} --catalog shop --new-categories").stdout.splitlines()
    assert lines[1:] == ["1 new category; remove the labels of a wrong code:", "  90006: 2 rows"]


@pytest.mark.usefixtures("signed_in")
def test_reviews_are_listed(run: Run, service: FakeService) -> None:
    service.add_review("one")
    service.add_review("two", reason="uncertain", result=None)
    service.add_review("three", label=1280)
    lines = [line.split("\t") for line in run("reviews").stdout.splitlines()]
    assert lines[0][:6] == ["one", "random", "0.025", "2583", "Piscine et accessoires", "0.97"]
    assert [line[0] for line in lines] == ["one", "two"]
    assert len(json.loads(run("reviews --all --json").stdout)) == 3
    assert [one["job_id"] for one in json.loads(run("reviews --reason uncertain --json").stdout)]


@pytest.mark.usefixtures("signed_in")
def test_reviews_are_labelled_one_after_the_other(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "is_terminal", lambda: True)
    for name in ("by number", "by code", "by name", "skipped", "wrong first", "never seen"):
        service.add_review(name)
    ended = run("reviews --label", "2\n2583\njouets\n\nbooks\n77\np\n1\nq\n")
    assert ended.exit_code == 0
    labels = {name: review["label"] for name, review in service.reviews.items()}
    assert labels == {
        "by number": 1280,
        "by code": 2583,
        "by name": 1280,
        "skipped": None,
        "wrong first": 2583,
        "never seen": None,
    }
    assert "Jouets (1280), 2 %" in ended.stdout
    assert "No such category: books" in ended.stderr
    assert "No such category: 77" in ended.stderr
    assert "4 labelled." in ended.stderr
    image = next(line for line in ended.stderr.splitlines() if "Image: " in line)
    assert Path(image.partition("Image: ")[2]).read_bytes() == b"\xff\xd8\xff"


@pytest.mark.usefixtures("signed_in")
def test_reviews_are_labelled_with_new_categories(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "is_terminal", lambda: True)
    for name in ("by number", "new"):
        service.add_review(name)
    ended = run("reviews --label --new-categories", "2\ndrones\n9999\n")
    assert ended.exit_code == 0
    labels = {name: review["label"] for name, review in service.reviews.items()}
    assert labels == {"by number": 1280, "new": 9999}
    assert "No such category: drones" in ended.stderr


@pytest.mark.usefixtures("signed_in")
def test_category_code_takes_precedence_over_list_position(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "is_terminal", lambda: True)
    top = [{"prdtypecode": code, "category": "", "probability": 0.5} for code in (2583, 1)]
    service.add_review("one", result={**RESULT, "top": top})
    assert "No such category: 1" in run("reviews --label", "1\nq\n").stderr


# Catalogs


@pytest.mark.usefixtures("signed_in")
def test_catalog_writes_a_file_of_answers(
    run: Run, service: FakeService, products: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.csv"
    ended = run(f"catalog {products} --out {out}")
    assert ended.exit_code == 0
    assert out.read_text() == service.results
    assert "products.csv finished: 3 rows in all, 3 classified, in 2 min 5 s" in ended.stdout
    for word in ("Reading", "Uploading", "Checking", "Classifying"):
        assert word in ended.stderr


@pytest.mark.usefixtures("signed_in")
def test_catalog_as_json_prints_only_json(run: Run, service: FakeService, products: Path) -> None:
    service.outcome = {"done": 1, "failed": 1, "rejected": 1}
    ended = run(f"catalog {products} --json")
    assert ended.exit_code == 1
    assert json.loads(ended.stdout)["counts"]["failed"] == 1


@pytest.mark.usefixtures("signed_in")
def test_catalog_with_bad_rows_lists_them_and_the_next_command(
    run: Run, service: FakeService, products: Path, tmp_path: Path
) -> None:
    service.outcome = {"done": 90, "failed": 2, "rejected": 8}
    out = tmp_path / "results.csv"
    ended = run(f"catalog {products} --out {out}")
    assert ended.exit_code == 1
    assert ended.stdout.count("must not be empty") == 5
    assert "\x1b" not in ended.output
    catalog_id = next(iter(service.catalogs))
    retry = f"rayon catalog --resume {catalog_id} --retry --out {out}"
    assert retry in ended.stdout
    errors = tmp_path / "errors.csv"
    assert run(f"catalog --resume {catalog_id} --errors {errors}").exit_code == 1
    assert len(errors.read_text().splitlines()) == 9
    service.outcome = {"done": 92}
    service.catalogs[catalog_id]["counts"]["rejected"] = 0
    assert run(retry.removeprefix("rayon ")).exit_code == 0


@pytest.mark.usefixtures("signed_in")
def test_cancelled_catalog_names_the_command_that_continues_it(
    run: Run, service: FakeService, products: Path, tmp_path: Path
) -> None:
    assert run(f"catalog {products} --no-wait").exit_code == 0
    (catalog,) = service.catalogs.values()
    catalog |= {"status": "cancelled"}
    catalog["counts"] |= {"rows": 3, "cancelled": 2, "done": 1}
    ended = run(f"catalog --resume {catalog['id']}")
    command = f"rayon catalog --resume {catalog['id']} --continue"
    assert ended.exit_code == 1
    assert f"To classify the cancelled rows: {command}" in ended.stdout
    # Reading the answers of a cancelled catalog must not start it.
    assert catalog["status"] == "cancelled"
    images = tmp_path / "images.zip"
    images.write_bytes(b"PK of a test")
    assert run(f"{command.removeprefix('rayon ')} --images {images}").exit_code == 0
    assert service.resumed_with == [b"PK of a test"]
    assert list(service.catalogs) == [catalog["id"]]


@pytest.mark.usefixtures("signed_in")
def test_dry_run_checks_without_classifying(run: Run, service: FakeService, products: Path) -> None:
    service.outcome = {"rejected": 1}
    ended = run(f"catalog {products} --dry-run")
    assert ended.exit_code == 1
    assert "1 rows checked, 1 rejected" in ended.stdout
    assert "line 2, designation: must not be empty" in ended.stdout
    assert service.forms[0]["dry_run"] == "true"


@pytest.mark.usefixtures("signed_in")
def test_same_command_resumes_the_same_catalog(
    run: Run, service: FakeService, products: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.csv"
    assert run(f"catalog {products} --no-wait").exit_code == 0
    assert run(f"catalog {products} --out {out}").exit_code == 0
    ended = run(f"catalog {products} --out {out}")
    assert ended.exit_code == 0
    assert "use --again for a new one" in ended.stderr
    assert len(service.catalogs) == 1
    assert run(f"catalog {products} --again --no-wait").exit_code == 0
    assert len(service.catalogs) == 2


@pytest.mark.usefixtures("signed_in")
def test_interrupted_waiting_prints_the_resume_command(
    run: Run,
    service: FakeService,
    products: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(self: Catalog, **_: object) -> Catalog:
        raise KeyboardInterrupt

    out = tmp_path / "my results.csv"
    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "wait", interrupted)
        ended = run(f"catalog {products} --out '{out}'")
    assert ended.exit_code == 130
    command = next(line for line in ended.stderr.splitlines() if "--resume" in line)
    assert run(command.strip().removeprefix("rayon ")).exit_code == 0
    assert out.exists()


@pytest.mark.usefixtures("signed_in")
def test_catalogs_are_listed_and_cancelled(run: Run, service: FakeService) -> None:
    ids = [service.add_catalog()["id"] for _ in range(3)]
    lines = run("catalogs --limit 2").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ids[:2]
    assert len(json.loads(run("catalogs --json").stdout)) == 3
    assert run(f"cancel {ids[0]}").stdout == f"{ids[0]} is cancelled.\n"


@pytest.mark.usefixtures("signed_in")
def test_failed_catalog_shows_its_error(run: Run, service: FakeService) -> None:
    error = {"code": "columns_missing", "message": "No column `designation`"}
    service.add_catalog(id="bad", status="failed", error=error)
    ended = run("catalog --resume bad")
    assert ended.exit_code == 1
    assert "No column `designation` (columns_missing)" in ended.stdout


ROWS: list[dict[str, Any]] = [
    {"status": "sold", "rayon_status": "done", "rayon_message": None},
    {"status": "sold", "rayon_status": "done", "rayon_message": "The image 'a.jpg' is not there"},
    {"status": "sold", "rayon_status": "failed", "rayon_message": "The image cannot be read"},
    {"status": "sold", "rayon_status": "rejected", "rayon_message": "Expected a text"},
]


@pytest.mark.usefixtures("signed_in")
def test_columns_are_stated(run: Run, service: FakeService, products: Path) -> None:
    ended = run(f"catalog {products} --column designation=Nom --column 'image=Photo 1'")
    assert ended.exit_code == 0
    assert json.loads(service.forms[0]["columns"]) == {"designation": "Nom", "image": "Photo 1"}
    # Other columns are another request, and none are the request of earlier versions.
    assert run(f"catalog {products} --column designation=Titre").exit_code == 0
    assert run(f"catalog {products}").exit_code == 0
    assert len(service.forms) == 3
    assert "columns" not in service.forms[2]


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("options", "query"),
    [
        ("--out {}/r.csv", {}),
        ("--out {}/r.csv --bom", {"bom": "true"}),
        ("--out {}/r.csv --no-bom", {"bom": "false"}),
        ("--out {}/r.XLSX", {"format": "xlsx"}),
        ("--out {}/r.ndjson", {"format": "jsonl"}),
        ("--out {}/r.xls --format csv", {}),
        ("--out {}/r --format xlsx", {"format": "xlsx"}),
        ("--out {}/r.csv --target .98", {"target": "0.98"}),
        (
            "--out {}/r.xlsx --target 0.9 --by-category",
            {"format": "xlsx", "target": "0.9", "by_category": "true"},
        ),
    ],
)
def test_format_of_the_results_is_that_of_the_file(
    run: Run,
    service: FakeService,
    products: Path,
    tmp_path: Path,
    options: str,
    query: dict[str, str],
) -> None:
    service.rows = [{"status": "done", "rayon_message": None}]
    assert run(f"catalog {products} {options.format(tmp_path)}").exit_code == 0
    assert service.queries[0] == query
    # The reasons are read from JSON Lines, which are downloaded once.
    assert sum(one.get("format") == "jsonl" for one in service.queries) == 1


@pytest.mark.usefixtures("signed_in")
def test_check_is_reported_before_the_answers(
    run: Run, service: FakeService, products: Path
) -> None:
    images = [f"{number}.jpg" for number in range(7)]
    service.report = {
        "used_columns": {"designation": "Nom", "image": "Photo"},
        "unused_columns": ["SKU", "", "A", "B", "C", "D", "E"],
        "notes": ["The table has no column of descriptions"],
        "warnings": 1_200,
        "unmatched_images": images,
        "unmatched_count": 1_200,
        "unused_images": ["logo.png"],
        "unused_count": 1,
        "refused_images": [{"name": "x\x1b.exe", "reason": "not an image"}],
        "refused_count": 1,
    }
    service.polls = 3
    ended = run(f"catalog {products} --json")
    lines = ended.stderr.splitlines()
    assert lines.count("Columns used: designation = 'Nom', image = 'Photo'") == 1
    for line in (
        "Columns only copied to the results: SKU, (no name), A, B, C and 2 more",
        "Note: The table has no column of descriptions",
        "Rows whose image is missing, classified by text only: 1,200",
        "Missing from the ZIP: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 1,195 more",
        "In the ZIP but not named by any row: logo.png",
        "In the ZIP but not read: x\N{REPLACEMENT CHARACTER}.exe (not an image)",
    ):
        assert line in lines
    assert json.loads(ended.stdout)["status"] == "finished"


@pytest.mark.usefixtures("signed_in")
def test_rows_without_a_full_answer_are_reported_with_reasons(
    run: Run, service: FakeService, products: Path
) -> None:
    service.outcome = {"done": 2, "failed": 1, "rejected": 1}
    service.rows = ROWS
    ended = run(f"catalog {products}")
    assert ended.exit_code == 1
    assert "4 rows in all, 2 classified, 1 of them degraded, 1 rejected, 1 failed" in ended.stdout
    failed, degraded = (
        "Failed:\n  product 3: The image",
        "Degraded:\n  product 2: The image 'a.jpg'",
    )
    assert failed in ended.stdout
    assert degraded in ended.stdout
    assert "1 of 2 rows (50 %) are degraded, more than 10 %." in ended.stderr


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("options", "code"), [("", 1), (" --max-degraded 0.5", 0), (" --max-degraded 0", 1)]
)
def test_share_of_degraded_rows_determines_the_exit_code(
    run: Run, service: FakeService, products: Path, tmp_path: Path, options: str, code: int
) -> None:
    service.outcome, service.rows = {"done": 2}, ROWS[:2]
    ended = run(f"catalog {products}{options} --out {tmp_path / 'r.jsonl'}")
    assert ended.exit_code == code
    assert ("are degraded, more than" in ended.stderr) is (code == 1)


@pytest.mark.usefixtures("signed_in")
def test_dry_run_counts_missing_images_as_degraded(
    run: Run, service: FakeService, products: Path
) -> None:
    service.outcome, service.report = {"queued": 4}, {"warnings": 1}
    assert run(f"catalog {products} --dry-run").exit_code == 1
    assert run(f"catalog {products} --dry-run --max-degraded 0.25").exit_code == 0
    assert not service.queries


@pytest.mark.usefixtures("signed_in")
def test_more_reasons_are_counted(run: Run, service: FakeService, products: Path) -> None:
    service.outcome, service.rows = {"done": 1_007}, [ROWS[1]] * 1_007
    ended = run(f"catalog {products}")
    assert ended.stdout.count("The image 'a.jpg'") == 5
    assert "and 1,002 more; the results name them in `rayon_message`" in ended.stdout


@pytest.mark.usefixtures("signed_in")
def test_resume_command_repeats_the_options(
    run: Run, service: FakeService, products: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    options = f"--out {out} --format csv --bom --target 0.98 --by-category --max-degraded 0.2"
    ended = run(f"catalog {products} --no-wait {options}")
    assert options in ended.stdout


@pytest.mark.usefixtures("signed_in")
def test_classify_explains_a_degraded_answer(run: Run, service: FakeService) -> None:
    degraded = {"degraded": "image_unreadable", "degraded_message": "The file is empty"}
    service.result = {**RESULT, **degraded}
    ended = run("classify Piscine")
    assert ended.exit_code == 0
    assert "does not use every input: The file is empty" in ended.stderr


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(("is_foreign", "is_said"), [(True, True), (False, False), (None, False)])
def test_classify_says_that_a_product_may_be_foreign(
    run: Run, service: FakeService, is_foreign: bool | None, is_said: bool
) -> None:
    service.result = {**RESULT, "novelty": 0.97, "is_foreign": is_foreign}
    ended = run("classify 'Plaquettes de frein'")
    assert ended.exit_code == 0
    assert ("may belong to none of the categories" in ended.stderr) is is_said


# Exit codes


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (problem(403, "Not allowed", "For operators"), 4, "ask an admin"),
        (problem(404, "Not found", "No such thing"), 4, "No such thing"),
        (problem(500, "Broken", "This is a defect"), 5, "This is a defect"),
        (busy(3600, status=429), 5, "Try again in 3600 s"),
        (busy(3600), 5, "Too much to do"),
    ],
)
def test_response_determines_the_exit_code(
    run: Run, service: FakeService, answer: object, code: int, said: str
) -> None:
    service.faults.append(answer)  # type: ignore[arg-type]
    ended = run("queues")
    assert (ended.exit_code, ended.stdout) == (code, "")
    assert said in ended.stderr


def test_unreachable_service_exits_with_5(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYON_API_KEY", KEY)
    ended = run(f"categories --url http://127.0.0.1:{free_port()}")
    assert ended.exit_code == 5
    assert "Is the service running" in ended.stderr


def test_expired_session_exits_with_3(run: Run, service: FakeService, signed_in: object) -> None:
    service.sessions.clear()
    assert run("jobs").exit_code == 3


@pytest.mark.parametrize(
    "command",
    [
        "catalog",
        "catalog nowhere.csv",
        "catalog pyproject.toml --resume x",
        "catalog pyproject.toml --out /nowhere/results.csv",
        "catalog pyproject.toml --retry",
        "catalog --resume x --dry-run",
        "catalog pyproject.toml --continue",
        "catalog --resume x --continue --retry",
        "catalog --resume x --images pyproject.toml",
        "catalog --resume x --column designation=Nom",
        "catalog pyproject.toml --column Nom",
        "catalog pyproject.toml --column designation=",
        "catalog pyproject.toml --column designation=a --column designation=b",
        "catalog pyproject.toml --out results.xls",
        "catalog pyproject.toml --out results.json",
        "catalog pyproject.toml --out results.xlsx --bom",
        "catalog pyproject.toml --format ods",
        "catalog pyproject.toml --out results.csv --target 98",
        "catalog pyproject.toml --target 98",
        "catalog pyproject.toml --out results.csv --by-category",
        "catalog pyproject.toml --max-degraded 2",
        "classify",
        "classify Piscine --image nowhere.jpg",
        "classify Piscine --model best",
        "jobs --url nonsense",
        "queues 5",
        "labels pyproject.toml",
        "labels nowhere.csv --catalog x",
        "reviews --label",
        "reviews --label --json",
        "reviews --new-categories",
        "report --make",
        "dead-letters replay",
        "sing",
    ],
)
def test_wrong_usage_exits_with_2(run: Run, command: str) -> None:
    assert run(command).exit_code == 2


@pytest.mark.usefixtures("signed_in")
def test_unwritable_file_exits_with_2(
    run: Run, service: FakeService, products: Path, tmp_path: Path
) -> None:
    service.add_catalog(id="done", status="finished")
    ended = run(f"catalog --resume done --out {tmp_path / ('x' * 250)}")
    assert ended.exit_code == 2
    assert "too long" in ended.stderr


def test_help_documents_the_exit_codes(run: Run) -> None:
    for command in ("--help", "catalog --help"):
        text = run(command).stdout
        assert "130 stopped with Ctrl-C" in text
        assert "5 unreachable, unavailable or busy" in text


def test_version_option_prints_the_version(run: Run) -> None:
    assert run("--version").stdout == "0.1.0\n"


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("options", "text"), [("", "train from now on"), (" --withdraw", "no longer train")]
)
def test_trust_in_labels_is_given_and_withdrawn(run: Run, options: str, text: str) -> None:
    assert f"Labels of eve (client) {text}" in run(f"trust eve{options}").stdout
