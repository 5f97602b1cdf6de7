"""Test of the health probe of a container."""

import subprocess
import sys


def test_probe_imports_only_fast_modules() -> None:
    # Containers run it every few seconds.
    program = "import sys, gateway.probe; print('pydantic' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr
