"""The Makefile's targets are documented, grouped and phony."""

import re
import subprocess

from infra.embedded.settings import PROJECT

MAKEFILE = (PROJECT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE)


def test_every_target_is_phony() -> None:
    phony = " ".join(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)).split()
    assert sorted(TARGETS) == sorted(phony)


def test_help_lists_every_target_below_a_heading() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    groups = shown.strip().split("\n\n")
    listed = re.findall(r"^  make ([a-z][a-z0-9-]*) +\S", shown, re.MULTILINE)
    assert sorted(listed) == sorted(TARGETS)
    assert all(re.match(r"[A-Z][^\n]+\n  make ", group) for group in groups)
