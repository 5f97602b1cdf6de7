"""Printed outcome of a benchmark that injects faults."""

from collections.abc import Mapping


def all_hold(checks: Mapping[str, bool]) -> bool:
    """Print each check with `yes` or `NO`, and return True if all of them hold."""
    for name, holds in checks.items():
        print(f"{'yes' if holds else 'NO':<4}{name}")
    return all(checks.values())
