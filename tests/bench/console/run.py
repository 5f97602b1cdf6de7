"""Steps of a person at a browser, timed one after another."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.system import System

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: Longest time of a step, in milliseconds; the answers of a large catalog take the longest.
PATIENCE = 3_600_000


@dataclass
class Run:
    """A person at a browser, and what the steps hand on to later ones.

    Attributes:
        page: Page of the browser, signed in by the first step.
        system: The system that is driven.
        folder: Folder for files.
        rows: Rows of the catalog.
        unusable: Rows among them without a title and a description.
        catalog_id: The imported catalog, once it exists.
        complaints: Errors and warnings of the browser's console.
    """

    page: Page
    system: System
    folder: Path
    rows: int
    unusable: int
    catalog_id: str = ""
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "") -> None:
        """Open a page of the console."""
        self.page.goto(f"{self.system.address}/console{path}")


@dataclass(frozen=True)
class Step:
    """A step of the person.

    Attributes:
        name: Name in the table of times.
        act: Does it, and returns once its result is visible. Returns a remark, or nothing.
    """

    name: str
    act: Callable[[Run], str | None]


def run_steps(run: Run, steps: Sequence[Step]) -> None:
    """Do all steps and print the time of each. Raises whatever a step raises."""
    for step in steps:
        began = time.perf_counter()
        remark = step.act(run)
        seconds = time.perf_counter() - began
        print(f"{step.name:34} {seconds:10.2f} s   {remark or ''}".rstrip(), flush=True)
    print(f"complaints of the browser: {len(run.complaints)} {run.complaints[:3] or ''}".rstrip())


@contextmanager
def browser_page() -> Iterator[Page]:
    """Open a browser in English and return its page."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise SystemExit("Expected the Debian package `chromium`. Received: no such program")
    with sync_playwright() as playwright:
        # Without a sandbox, which root may not make; only pages of the own system are opened.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_context(locale="en").new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page
        browser.close()
