"""A parser of PromQL that finds the metrics and labels of an expression."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

from shared import metrics

_TOKEN = re.compile(
    r"""\s+|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>\d[\w.]*)"""
    r"""|(?P<name>[A-Za-z_:][\w:]*)|(?P<sign>=~|!~|!=|==|>=|<=|.)"""
)
#: Keywords that precede a list of labels.
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
#: Keywords that are neither metrics nor followed by labels.
_WORDS = {"and", "or", "unless", "bool", "offset"}
#: Labels that Prometheus adds to every series.
_TARGET = {"job", "instance"}
#: Labels of metrics that Rayon does not define.
FOREIGN_METRICS = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity", "area"},
    "alertmanager_notifications_failed_total": {"integration"},
}


@dataclass
class ExpressionNames:
    """Names in an expression."""

    #: Labels that select each metric.
    metrics: dict[str, set[str]] = field(default_factory=dict)
    #: Labels that the expression groups by.
    grouped: set[str] = field(default_factory=set)


def known_series() -> dict[str, set[str]]:
    """Return the labels of every existing series."""
    found = {name: labels | _TARGET for name, labels in FOREIGN_METRICS.items()}
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            labels = {*metric._labelnames, *_TARGET}
            name = next(iter(metric.describe())).name
            if isinstance(metric, Histogram):
                found |= {f"{name}_sum": labels, f"{name}_count": labels}
                found[f"{name}_bucket"] = labels | {"le"}
            else:
                found[f"{name}_total" if isinstance(metric, Counter) else name] = labels
    return found


def names_in(expression: str) -> ExpressionNames:
    """Return the names in an expression."""
    found = ExpressionNames()
    tokens = list(_tokens(expression))
    position = 0
    while position < len(tokens):
        kind, text = tokens[position]
        following = tokens[position + 1][1] if position + 1 < len(tokens) else ""
        if kind == "name" and text in _GROUPING:
            labels, position = _until(tokens, position + 2, ")")
            found.grouped |= set(labels)
        elif kind == "name" and text not in _WORDS and following == "{":
            labels, position = _until(tokens, position + 2, "}")
            found.metrics.setdefault(text, set()).update(labels)
        elif kind == "name" and text not in _WORDS and not _is_function(text, following):
            found.metrics.setdefault(text, set())
        position += 1
    return found


def unknown_names(expression: str) -> list[str]:
    """Return one error text for each metric or label of an expression that does not exist."""
    series, names = known_series(), names_in(expression)
    found = [f"no metric {name}" for name in names.metrics if name not in series]
    all_labels: set[str] = set()
    for name, labels in names.metrics.items():
        all_labels |= series.get(name, set())
        found += [f"no label {label} of {name}" for label in labels - series.get(name, set())]
    return found + [
        f"no label {label} of any of its metrics" for label in names.grouped - all_labels
    ]


def _is_function(name: str, following: str) -> bool:
    return following == "(" or following in ("by", "without")


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(expression):
        if match.lastgroup is not None:
            yield match.lastgroup, match[0]


def _until(tokens: list[tuple[str, str]], position: int, end: str) -> tuple[list[str], int]:
    """Return the names up to a closing bracket, and the position of the bracket."""
    names = []
    while tokens[position][1] != end:
        if tokens[position][0] == "name":
            names.append(tokens[position][1])
        position += 1
    return names, position
