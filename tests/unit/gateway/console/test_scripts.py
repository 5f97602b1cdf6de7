"""A script that imports one that is not there stops all scripts of the page."""

import re
from pathlib import Path

import pytest

from gateway import console

STATIC = Path(console.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
IMPORT = re.compile(r'^(?:import|export)[^;]* from "\./([\w-]+\.js)";$', re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
def test_imported_scripts_exist(script: Path) -> None:
    imported = IMPORT.findall(script.read_text())
    assert len(imported) == script.read_text().count(' from "')
    assert [name for name in imported if not (STATIC / name).is_file()] == []
