"""The workflows pin what they use, have few rights, and run what a laptop can run."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[4]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_action_is_pinned_by_commit_with_its_version(path: Path) -> None:
    for used in re.findall(r"uses: (.+)", path.read_text()):
        is_ours = used.startswith("./.github/workflows/")
        assert is_ours or re.match(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_permissions_are_granted_per_job(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {}
    for name, job in jobs(path).items():
        assert "permissions" in job, name
        assert "uses" in job or "timeout-minutes" in job, name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_step_runs_existing_make_targets(path: Path) -> None:
    used = set(re.findall(r"\bmake ([a-z]+)", path.read_text()))
    assert used <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_expression_is_never_part_of_a_script(path: Path) -> None:
    # It would be read by the shell: a title such as `$(curl …)` would be run.
    for job in jobs(path).values():
        for step in job.get("steps", ()):
            assert "${{" not in step.get("run", "")


def test_images_are_pushed_only_after_the_tests_and_the_stack() -> None:
    images = jobs(PROJECT / ".github" / "workflows" / "images.yml")
    assert images["images"]["needs"] == "check"
    steps = [str(step.get("run", step.get("uses"))) for step in images["images"]["steps"]]
    order = [
        next(number for number, step in enumerate(steps) if step.startswith(f"make {target}"))
        for target in ("images", "scan", "stack", "push")
    ]
    assert order == sorted(order)


def test_manifests_are_checked_only_after_the_build() -> None:
    # A base has no securityContext until it is patched: the scanner would find fault in every run.
    images = jobs(PROJECT / ".github" / "workflows" / "images.yml")
    (scan,) = (
        step["with"]
        for step in images["images"]["steps"]
        if step.get("uses", "").startswith("aquasecurity/trivy-action@")
    )
    assert set(scan["scanners"].split(",")) == {"vuln", "secret"}
    assert images["check"]["uses"] == "./.github/workflows/ci.yml"
    checked = [
        step.get("run")
        for job in jobs(PROJECT / ".github" / "workflows" / "ci.yml").values()
        for step in job["steps"]
    ]
    assert "make manifests" in checked


def test_scheduled_workflow_needs_no_approval() -> None:
    # `production` may have reviewers: infra/docs/runbook.md, Delivery.
    for path in WORKFLOWS:
        if "schedule" in yaml.safe_load(path.read_text())[True]:
            assert {job["environment"] for job in jobs(path).values()} == {"nightly"}, path.name


def calls() -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Jobs that are a workflow of ours, its text, and what it says that it takes."""
    for path in WORKFLOWS:
        for job in jobs(path).values():
            if "uses" in job:
                called = (PROJECT / job["uses"]).read_text()
                # YAML 1.1 reads `on` as true.
                yield job, called, yaml.safe_load(called)[True]["workflow_call"] or {}


def test_called_workflow_is_passed_the_secrets_that_it_uses() -> None:
    for job, text, takes in calls():
        used = set(re.findall(r"secrets\.([A-Z_]+)", text))
        assert set(takes.get("secrets", {})) == used, job["uses"]
        passed = {name: f"${{{{ secrets.{name} }}}}" for name in used}
        assert job.get("secrets", {}) == passed, job["uses"]


def test_environment_secret_is_not_required_by_the_called_workflow() -> None:
    for job, _, takes in calls():
        for name, secret in takes.get("secrets", {}).items():
            assert secret["required"] is False, f"{job['uses']}: {name}"


def deployment_step(name: str) -> dict[str, Any]:
    (job,) = jobs(PROJECT / ".github" / "workflows" / "deploy.yml").values()
    (step,) = (one for one in job["steps"] if one.get("name") == name)
    return dict(step)


def run_keys(home: Path, **missing: str) -> subprocess.CompletedProcess[str]:
    """Run the step that writes the keys down, with a value for each but those that are given."""
    step = deployment_step("Keys")
    environment = dict.fromkeys(step["env"], "given") | missing
    return subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        env={"PATH": os.environ["PATH"], "HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    assert run_keys(tmp_path).returncode == 0
    assert (tmp_path / ".ssh" / "id_rayon").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["KEY", "RAYON_API_KEY", "KNOWN_HOSTS"])
def test_deployment_without_a_key_ends_before_it_begins(tmp_path: Path, name: str) -> None:
    ended = run_keys(tmp_path, **{name: ""})
    assert ended.returncode != 0
    assert "in the environment production" in ended.stderr
    assert not (tmp_path / ".ssh").exists()
