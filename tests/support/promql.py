"""Reads as much of PromQL as tells which metrics an expression asks for, and by which labels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

from shared import metrics

_TOKEN = re.compile(
    r"""\s+|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>\d[\w.]*)"""
    r"""|(?P<name>[A-Za-z_:][\w:]*)|(?P<sign>=~|!~|!=|==|>=|<=|.)"""
)
#: A list of labels follows these.
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset"}
#: What Prometheus adds to every series that it fetches.
_TARGET = {"job", "instance"}
#: Metrics that are not ours, and their labels.
OTHERS = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity", "area"},
    "alertmanager_notifications_failed_total": {"integration"},
}


@dataclass
class Asked:
    """Return the names in an expression."""

    #: By metric, the labels that it is selected by.
    metrics: dict[str, set[str]] = field(default_factory=dict)
    #: Labels that are grouped by.
    grouped: set[str] = field(default_factory=set)


def known() -> dict[str, set[str]]:
    """Every series there is, and its labels."""
    found = {name: labels | _TARGET for name, labels in OTHERS.items()}
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


def asked(expression: str) -> Asked:
    """Read an expression."""
    found = Asked()
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


def complaints(expression: str) -> list[str]:
    """Return the names in an expression that do not exist."""
    there, named = known(), asked(expression)
    found = [f"no metric {name}" for name in named.metrics if name not in there]
    of_all: set[str] = set()
    for name, labels in named.metrics.items():
        of_all |= there.get(name, set())
        found += [f"no label {label} of {name}" for label in labels - there.get(name, set())]
    return found + [f"no label {label} of any of its metrics" for label in named.grouped - of_all]


def _is_function(name: str, following: str) -> bool:
    return following == "(" or following in ("by", "without")


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(expression):
        if match.lastgroup is not None:
            yield match.lastgroup, match[0]


def _until(tokens: list[tuple[str, str]], position: int, end: str) -> tuple[list[str], int]:
    """The names up to a closing bracket, and where that is."""
    names = []
    while tokens[position][1] != end:
        if tokens[position][0] == "name":
            names.append(tokens[position][1])
        position += 1
    return names, position
