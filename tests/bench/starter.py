"""Folder of the starter release, whose models the benchmarks score with."""

from infra.embedded.settings import PROJECT

STARTER = PROJECT / "infra" / "starter_release"
