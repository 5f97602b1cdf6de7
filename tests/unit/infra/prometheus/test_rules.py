"""Alerts: each says what to do, is tried out, and asks for what exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from gateway.api import drift_alerts
from gateway.identity import permissions
from gateway.identity.service_keys import ALERTMANAGER
from infra.embedded.programs import programs
from infra.embedded.settings import PROJECT, EmbeddedSettings
from rayon.cli.main import build_app
from tests.support.promql import known_series, names_in, unknown_names
from tests.support.settings_groups import settings_groups

PROMETHEUS = PROJECT / "infra" / "prometheus"
RUNBOOK = PROJECT / "infra" / "docs" / "runbook.md"
SEVERITIES = {"page", "warning", "info", "none"}
COMMANDS = set(typer.main.get_command(build_app()).commands)  # type: ignore[attr-defined]
AREAS = {"ops", "model", "drift", "trace"}


def read(path: Path) -> Any:
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def rules() -> list[dict[str, Any]]:
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    return [rule for path in files for group in read(path)["groups"] for rule in group["rules"]]


def trials() -> list[dict[str, Any]]:
    """Return the single expressions of the promtool tests."""
    files = sorted((PROMETHEUS / "tests").glob("*.yml"))
    groups = [group for path in files for group in read(path)["tests"]]
    return [one for group in groups for one in group["promql_expr_test"]]


RULES = {rule["alert"]: rule for rule in rules()}


@pytest.mark.parametrize("name", RULES)
def test_every_alert_has_a_description_and_instructions(name: str) -> None:
    rule = RULES[name]
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["labels"]["area"] in AREAS
    assert len(notes["description"]) > len(notes["summary"]) > 15
    assert notes["runbook"] == f"infra/docs/runbook.md#{name.lower()}"


@pytest.mark.parametrize("name", RULES)
def test_every_alert_is_tested_quiet_and_firing(name: str) -> None:
    mine = [one for one in trials() if f'alertname="{name}"' in one["expr"]]
    assert any(one["exp_samples"] for one in mine), "no test in which it fires"
    assert any(not one["exp_samples"] for one in mine), "no test in which it is quiet"


@pytest.mark.parametrize("name", RULES)
def test_every_alert_queries_existing_metrics_and_labels(name: str) -> None:
    assert unknown_names(RULES[name]["expr"]) == []


@pytest.mark.parametrize("name", RULES)
def test_alert_texts_use_only_labels_of_the_alert(name: str) -> None:
    rule = RULES[name]
    text = " ".join(rule["annotations"].values())
    there = names_in(rule["expr"])
    of_all = set().union(*(known_series()[one] for one in there.metrics))
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= of_all


@pytest.mark.parametrize("name", RULES)
def test_instructions_of_an_alert_name_existing_commands_and_settings(name: str) -> None:
    said = RULES[name]["annotations"]["description"]
    paths = {(method, re.sub(r"{\w+}", "{}", path)) for method, path in permissions.RULES}
    for method, path in re.findall(r"`(GET|POST|PUT|DELETE) (/v1/[\w/{}-]+)", said):
        assert (method, re.sub(r"{\w+}", "{}", path)) in paths
    for command in re.findall(r"`rayon ([\w-]+)", said):
        assert command in COMMANDS
    for variable in re.findall(r"\b(RAYON_\w+|\w+_WORKERS)=?", said):
        assert _is_known(variable)
    for service in re.findall(r"docker compose (?:restart|up|up -d|ps) ([a-z][\w-]*\w)`", said):
        assert service in read(PROJECT / "docker-compose.yml")["services"]


def _is_known(variable: str) -> bool:
    """Return True if a service or Compose reads the variable."""
    if f"${{{variable}" in (PROJECT / "docker-compose.yml").read_text():
        return True
    return variable in {
        f"{one.model_config.get('env_prefix', '')}{field}".upper()
        for one in settings_groups()
        for field in one.model_fields
    }


def test_promtool_tests_name_only_existing_alerts() -> None:
    tried = {match for one in trials() for match in re.findall(r'alertname="(\w+)"', one["expr"])}
    assert tried == set(RULES)


def test_monitored_tasks_exist() -> None:
    watched = set(re.findall(r'task="(\w+)"', " ".join(rule["expr"] for rule in RULES.values())))
    code = "".join(
        (PROJECT / path).read_text() for path in ("gateway/scheduler.py", "trainer/monitor.py")
    )
    assert watched
    assert all(f'"{task}"' in code for task in watched)


def test_runbook_has_a_section_for_every_alert() -> None:
    if not RUNBOOK.exists():
        pytest.skip("infra/docs/runbook.md is not there")
    sections = re.findall(r"^#+ +(.+)$", RUNBOOK.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in sections}
    assert {name.lower() for name in RULES} <= anchors


def test_only_alerts_about_models_reach_rayon() -> None:
    routing = read(PROJECT / "infra/alertmanager/alertmanager.yml")
    receivers = {one["name"]: one for one in routing["receivers"]}
    to_rayon = [one for one in routing["route"]["routes"] if one["receiver"] == "rayon"]
    assert [one["matchers"] for one in to_rayon] == [['area="model"']]
    assert to_rayon[0]["continue"], "people are told too"
    (webhook,) = receivers["rayon"]["webhook_configs"]
    assert webhook["url"].endswith(drift_alerts.PREFIX)
    assert ("POST", drift_alerts.PREFIX) in permissions.RULES
    key = webhook["http_config"]["authorization"]["credentials_file"]
    assert key.endswith(f"/{ALERTMANAGER}_key")


def test_drift_alerts_of_rayon_are_not_sent_back_to_it() -> None:
    echoes = [
        name
        for name, rule in RULES.items()
        if rule["labels"]["area"] == "model"
        and any(metric.startswith("rayon_drift") for metric in names_in(rule["expr"]).metrics)
    ]
    assert echoes == []


def test_alerts_that_may_train_keep_their_identity_over_a_restart() -> None:
    # A label that changes with the process makes another alert of it, which may train once more.
    for name, rule in RULES.items():
        if rule["labels"]["area"] == "model":
            bare = re.findall(r"rayon_\w+", outside_of_groups(rule["expr"]))
            assert bare == [], name
            assert not {"instance", "job", "pod"} & names_in(rule["expr"]).grouped, name


def outside_of_groups(expression: str) -> str:
    """Remove each `max by (…) (…)` from an expression."""
    kept, depth = "", 0
    for part in re.split(r"(by \([^)]*\) \(|[()])", " ".join(expression.split())):
        if depth or part.startswith("by "):
            depth += part.count("(") - part.count(")")
        else:
            kept += part
    return kept


@pytest.mark.parametrize(
    ("expression", "left"),
    [
        ('max by (a) (x{b="c"}) > y', "max  > y"),
        ("sum by (a) (rate(x[5m])) / on (a) (y)", "sum  / on (a) (y)"),
        ("(x or sum by (a) ((x)) unless y) < 2", "(x or sum  unless y) < 2"),
    ],
)
def test_aggregations_are_removed_from_an_expression(expression: str, left: str) -> None:
    assert outside_of_groups(expression) == left


def test_every_compose_service_is_scraped() -> None:
    compose = read(PROJECT / "docker-compose.yml")["services"]
    jobs = {one["job_name"] for one in read(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    ours = {
        name
        for name, one in compose.items()
        if str(one.get("image", "")).startswith("rayon/") and one.get("restart") == "unless-stopped"
    }
    assert len(ours) > 5
    assert ours - {"mlflow"} <= jobs


def test_embedded_processes_have_the_ports_that_prometheus_scrapes(tmp_path: Path) -> None:
    embedded = EmbeddedSettings(home=tmp_path)
    ports = {
        one.name: int(one.environment["RAYON_METRICS_PORT"])
        for one in programs(embedded, tmp_path, tmp_path, tmp_path)
        if "RAYON_METRICS_PORT" in one.environment
    }
    asked_for = {
        one["job_name"].removeprefix("worker-"): one["static_configs"][0]["targets"]
        for one in read(PROMETHEUS / "embedded.yml")["scrape_configs"]
    }
    expected = {
        name.removesuffix("-interactive"): [f"127.0.0.1:{port}"] for name, port in ports.items()
    }
    assert asked_for == expected


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("sum by (queue) (rayon_workers)", []),
        ('rate(rayon_job_seconds_bucket{lane="catalog"}[5m]) > 0.5', []),
        ("rayon_invented > 1", ["no metric rayon_invented"]),
        ('rayon_workers{lane="x"}', ["no label lane of rayon_workers"]),
        ("sum by (lane) (rayon_workers)", ["no label lane of any of its metrics"]),
        ("rayon_workers_total", ["no metric rayon_workers_total"]),
        (
            "sum(rate(rayon_job_seconds[5m])) by (le)",
            ["no metric rayon_job_seconds", "no label le of any of its metrics"],
        ),
    ],
)
def test_expressions_are_read(expression: str, wrong: list[str]) -> None:
    assert unknown_names(expression) == wrong
