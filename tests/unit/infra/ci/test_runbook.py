"""The runbook has a section for every alert, and names commands and settings that exist."""

import re
from pathlib import Path

import pytest
import yaml

from tests.support.settings_groups import settings_groups

PROJECT = Path(__file__).parents[4]
RUNBOOK = (PROJECT / "infra" / "docs" / "runbook.md").read_text()
RULES = {
    rule["alert"]: rule
    for path in sorted((PROJECT / "infra" / "prometheus" / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
}
SECTIONS = dict(re.findall(r"^### (\w+)\n\n(.+?)(?=\n\n|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


def anchors() -> set[str]:
    """Return the anchors that GitHub derives from the headings."""
    headings = re.findall(r"^#+ +(.+)$", RUNBOOK, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("name", RULES)
def test_alert_has_a_section_with_its_severity_and_instructions(name: str) -> None:
    section = SECTIONS[name]
    assert section.startswith(f"`{RULES[name]['labels']['severity']}`. ")
    assert "**Do:** " in section


def test_every_section_is_about_an_alert_that_exists() -> None:
    assert set(RULES) == set(SECTIONS)


def test_runbook_links_have_targets() -> None:
    assert set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK)) <= anchors()
    for path in re.findall(r"\]\(((?!#)[^)#]+)", RUNBOOK):
        assert (PROJECT / "infra" / "docs" / path).exists(), path


def test_commands_are_targets_of_make_and_files_of_the_project() -> None:
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for line in re.findall(r"(?:^    |`)make ((?:[a-z]+ ?)+)", RUNBOOK, re.MULTILINE):
        assert set(line.split()) <= targets, line
    for path in re.findall(r"(?:infra|overlays)/[\w./-]+\w", RUNBOOK):
        assert (PROJECT / path).exists() or list((PROJECT / "infra").rglob(path)), path


def variables() -> set[str]:
    """Return the variables that the runbook names; `RAYON_RETENTION_*` is a group of several."""
    return set(re.findall(r"RAYON_[A-Z_]+[A-Z]", RUNBOOK)) - {"RAYON_RETENTION"}


def known_settings() -> set[str]:
    """Return the variables of all settings groups."""
    return {
        f"{group.model_config.get('env_prefix', '')}{field}".upper()
        for group in settings_groups()
        for field in group.model_fields
    }


def test_variables_are_settings_or_named_by_compose_examples_or_workflows() -> None:
    places = [PROJECT / "docker-compose.yml", PROJECT / ".env.example"]
    elsewhere = "".join(
        path.read_text() for path in (*places, *(PROJECT / ".github/workflows").glob("*.yml"))
    )
    for name in variables():
        assert name in known_settings() or name in elsewhere, name


def test_settings_of_the_runbook_reach_the_containers() -> None:
    """Compose passes them from `.env` if it names them, else all services read `rayon.env`."""
    text = (PROJECT / "docker-compose.yml").read_text()
    own = {
        name: one
        for name, one in yaml.safe_load(text)["services"].items()
        if re.match(r"rayon/(?!mlflow)", str(one["image"])) and name != "init"
    }
    assert all("rayon.env" in one["env_file"][0]["path"] for one in own.values())
    fixed = {variable for one in own.values() for variable in one.get("environment", {})}
    for name in variables() & known_settings():
        assert f"${{{name}" in text or name not in fixed, name


def test_log_events_are_logged_by_a_service() -> None:
    events = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)` in (?:its|the) logs?\b", RUNBOOK))
    assert events
    services = ("gateway", "shared", "trainer", "worker_fusion", "worker_image", "worker_text")
    code = "".join(
        path.read_text() for service in services for path in (PROJECT / service).rglob("*.py")
    )
    assert [event for event in sorted(events) if f'"{event}"' not in code] == []
