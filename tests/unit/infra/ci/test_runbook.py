"""The runbook knows every alert, and names what there is."""

import re
from pathlib import Path

import pytest
import yaml

from shared import settings

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
    """As GitHub makes them of the headings."""
    headings = re.findall(r"^#+ +(.+)$", RUNBOOK, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("name", RULES)
def test_alert_has_its_section_with_its_severity_and_what_to_do(name: str) -> None:
    section = SECTIONS[name]
    assert section.startswith(f"`{RULES[name]['labels']['severity']}`. ")
    assert "**Do:** " in section


def test_no_section_is_about_an_alert_that_is_gone() -> None:
    assert set(RULES) == set(SECTIONS)


def test_links_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK)) <= anchors()
    for path in re.findall(r"\]\(((?!#)[^)#]+)", RUNBOOK):
        assert (PROJECT / "infra" / "docs" / path).exists(), path


def test_commands_are_targets_of_make_and_files_of_the_project() -> None:
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for line in re.findall(r"(?:^    |`)make ((?:[a-z]+ ?)+)", RUNBOOK, re.MULTILINE):
        assert set(line.split()) <= targets, line
    for path in re.findall(r"(?:infra|overlays)/[\w./-]+\w", RUNBOOK):
        assert list(PROJECT.rglob(path)) or (PROJECT / path).exists(), path


def variables() -> set[str]:
    """Those that the runbook names; `RAYON_RETENTION_*` stands for several."""
    return set(re.findall(r"RAYON_[A-Z_]+[A-Z]", RUNBOOK)) - {"RAYON_RETENTION"}


def known_settings() -> set[str]:
    """Every variable of `shared/settings.py`."""
    groups = [one for one in vars(settings).values() if hasattr(one, "model_fields")]
    return {
        f"{group.model_config.get('env_prefix', '')}{field}".upper()
        for group in groups
        for field in group.model_fields
    }


def test_variables_are_known_to_the_project() -> None:
    """Each is a setting, or one of Compose, of the examples, or of the workflows."""
    places = [PROJECT / "docker-compose.yml", PROJECT / ".env.example"]
    told = "".join(
        path.read_text() for path in (*places, *(PROJECT / ".github/workflows").glob("*.yml"))
    )
    for name in variables():
        assert name in known_settings() or name in told, name


def test_settings_that_are_to_be_changed_reach_the_containers() -> None:
    """By `.env` where Compose names them, else by the file of settings that all of ours get."""
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
