"""The workflows pin what they use, have few rights, and run what a laptop can run."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[3]
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
def test_rights_are_given_job_by_job(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {}
    for name, job in jobs(path).items():
        assert "permissions" in job, name
        assert "uses" in job or "timeout-minutes" in job, name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_step_runs_targets_that_there_are(path: Path) -> None:
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
